"""iNaturalist: the CSV export of observations, and the tables of its Open Data."""

import pandas as pd

from florafauna.base.errors import UserError
from florafauna.labels._matching import locate
from florafauna.labels.formats._table import the_table
from florafauna.labels.labels import LabelFiles, Labels
from florafauna.labels.tabular import columns, read_table
from florafauna.labels.taxonomy import RANKS, with_ranks_of_names

PHOTO_ID = r"/photos?/(\d+)/"  # the number of a photo in the URLs of iNaturalist


OBSERVATIONS = ["observation_uuid", "observer_id", "latitude", "longitude", "taxon_id", "quality_grade", "observed_on"]


class Export:
    """The CSV that 'Export observations' gives: a row an observation, with the URL of its first photo."""

    name = "inaturalist"
    looks_like = "an iNaturalist CSV export (id, image_url, scientific_name)"
    required = ("id", "image_url", "scientific_name")

    def recognises(self, files: LabelFiles) -> bool:
        """See `Reader`."""
        path = None if files.is_root else the_table(files)
        present = columns(files, path) if path is not None else []
        return "path" not in present and set(present) >= set(self.required)

    def read(self, files: LabelFiles, photos: list[str]) -> Labels:
        """See `Reader`. A photo belongs to the row whose URL, photo number or observation number its path carries."""
        path = the_table(files)
        if path is None:
            raise UserError(f"{files.origin} is not an iNaturalist CSV export; give the file that the export made.")
        table = read_table(files, path)
        missing = [name for name in self.required if name not in table.columns]
        if missing:
            raise UserError(f"{files.describe(path)} is not an iNaturalist CSV export: it has no column {missing[0]}.")
        table["photo"] = table["image_url"].str.extract(PHOTO_ID)[0].fillna("")
        rows, notes = locate(table, photos, urls=["image_url"], ids=["photo", "id"])
        names = {"id": "occurrence", "license": "licence", "scientific_name": "label"}
        names |= {f"taxon_{rank}_name": rank for rank in RANKS}
        rows = rows.rename(columns=names)
        rows["observer"] = _first_given(rows, ("user_id", "user_login"))
        rows["datetime"] = _first_given(rows, ("time_observed_at", "observed_on"))
        kept = ["path", "label", "occurrence", "observer", "datetime", "latitude", "longitude", "licence", *RANKS]
        kept += ["common_name", "quality_grade", "captive_cultivated"]
        rows = rows[[name for name in kept if name in rows.columns]]
        if "species" not in rows.columns:
            rows = with_ranks_of_names(rows, rows["label"])
        return Labels(rows, ranked="species" in rows.columns, notes=notes, listed=len(table))


class OpenData:
    """The tab-separated observations, photos and taxa of the iNaturalist Open Data."""

    name = "inaturalist-open-data"
    looks_like = "the iNaturalist Open Data (photos.csv, observations.csv, taxa.csv)"

    def recognises(self, files: LabelFiles) -> bool:
        """See `Reader`."""
        path = files.find("photos.csv")
        return path is not None and {"photo_id", "observation_uuid"} <= set(columns(files, path))

    def read(self, files: LabelFiles, photos: list[str]) -> Labels:
        """See `Reader`. A photo's number, or its observation's, is the name of its file or folder."""
        table = self._table(files, "photos.csv", ["photo_uuid", "photo_id", "observation_uuid", "license"])
        rows, notes = locate(table, photos, ids=["photo_id", "photo_uuid", "observation_uuid"])
        observations = self._table(files, "observations.csv", OBSERVATIONS)
        observations = observations[observations["observation_uuid"].isin(rows["observation_uuid"])]
        observations = observations.drop_duplicates("observation_uuid")
        rows = rows.merge(observations, on="observation_uuid", how="left").fillna("")
        taxa = self._table(files, "taxa.csv", ["taxon_id", "ancestry", "rank", "name"])
        rows = rows.merge(_ranks(taxa, rows["taxon_id"]), on="taxon_id", how="left").fillna("")
        names = {"observation_uuid": "occurrence", "observer_id": "observer", "observed_on": "datetime"}
        rows = rows.rename(columns={**names, "license": "licence"}).drop(columns=["photo_uuid", "photo_id", "taxon_id"])
        return Labels(rows, ranked=True, notes=notes, listed=len(table))

    def _table(self, files: LabelFiles, name: str, wanted: list[str]) -> pd.DataFrame:
        photos = files.find("photos.csv")
        path = files.beside(photos, name) if photos is not None else None
        if path is None:
            raise UserError(f"{files.origin} is not the iNaturalist Open Data: it has no {name} (or {name}.gz).")
        table = read_table(files, path, keep=wanted, quoted=False)
        missing = [column for column in wanted if column not in table.columns]
        if missing:
            raise UserError(f"{files.describe(path)} is not of the iNaturalist Open Data: it has no {missing[0]}.")
        return table


def _first_given(rows: pd.DataFrame, names: tuple[str, ...]) -> pd.Series:
    """For each row the first of some columns that is not empty."""
    values = pd.Series("", index=rows.index, dtype=str)
    for name in names:
        if name in rows.columns:
            values = values.where(values != "", rows[name])
    return values


def _ranks(taxa: pd.DataFrame, used: pd.Series) -> pd.DataFrame:
    """taxon_id, label and the ranks of the taxa in `used`, by their ancestry (48460/1/2/..., from the root down)."""
    here = taxa[taxa["taxon_id"].isin(used)].drop_duplicates("taxon_id")
    lines = (here["ancestry"] + "/" + here["taxon_id"]).str.split("/")
    lineage = pd.DataFrame({"taxon_id": here["taxon_id"], "member": lines}).explode("member")
    members = taxa.loc[taxa["rank"].isin(RANKS), ["taxon_id", "rank", "name"]]
    named = lineage.merge(members.rename(columns={"taxon_id": "member"}), on="member")
    named = named.drop_duplicates(["taxon_id", "rank"], keep="last")
    ranks = named.pivot(index="taxon_id", columns="rank", values="name").reindex(columns=list(RANKS)).reset_index()
    names = here[["taxon_id", "name"]].rename(columns={"name": "label"})
    return names.merge(ranks, on="taxon_id", how="left").fillna("")
