"""The formats of label files, in the order in which they are tried: the unmistakable first, any table last."""

from florafauna.photos.camtrap_dp import CamtrapDP
from florafauna.photos.coco import Coco
from florafauna.photos.darwin_core import DarwinCore
from florafauna.photos.inaturalist import Export, OpenData
from florafauna.photos.labels import Reader
from florafauna.photos.lila import Lila
from florafauna.photos.table import Table
from florafauna.photos.timelapse import Timelapse
from florafauna.photos.wildlife_insights import WildlifeInsights

READERS: tuple[Reader, ...] = (
    CamtrapDP(),
    DarwinCore(),
    OpenData(),
    WildlifeInsights(),
    Lila(),
    Export(),
    Timelapse(),
    Coco(),
    Table(),
)
