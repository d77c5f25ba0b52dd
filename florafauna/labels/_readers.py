"""The formats of label files, in the order in which they are tried: the unmistakable first, any table last."""

from florafauna.labels.formats._camtrap_dp import CamtrapDP
from florafauna.labels.formats._coco import Coco
from florafauna.labels.formats._darwin_core import DarwinCore
from florafauna.labels.formats._inaturalist import Export, OpenData
from florafauna.labels.formats._lila import Lila
from florafauna.labels.formats._machines import MegaDetector, SpeciesNet
from florafauna.labels.formats._table import Table
from florafauna.labels.formats._timelapse import Timelapse
from florafauna.labels.formats._wildlife_insights import WildlifeInsights
from florafauna.labels.labels import Reader

READERS: tuple[Reader, ...] = (
    CamtrapDP(),
    DarwinCore(),
    OpenData(),
    WildlifeInsights(),
    Lila(),
    Export(),
    Timelapse(),
    MegaDetector(),
    SpeciesNet(),
    Coco(),
    Table(),
)
