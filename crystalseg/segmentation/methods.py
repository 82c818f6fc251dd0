"""Every method of segmentation: its name, what it is, the networks it needs. `pipeline` holds how each runs."""

from dataclasses import dataclass
from pathlib import Path

from crystalseg.networks import DIRECTORY

_NETWORK = "A flow network ({network}) was run on the image at resize factors {factors}"
_TRACED = "traced to one label per crystal"


@dataclass(frozen=True)
class Method:
    """words: what it is, in a few; statement: the first sentence or two of a report's method statement, with
    `{factors}` for the resize factors and `{network}` for the flow network's words; networks: the weights it needs, by
    name (SiMA+: see `networks_of`); ladder: whether it takes the resize factors a user may choose; fusion: how it adds
    up the scales' flows (`attention`, `average`, `maximum`), or ""; attention: the weights of the network whose size
    levels weigh them, by name; selects: whether each crystal comes from one scale
    of a ladder of octaves; as_cellpose: whether crystals are traced by Cellpose's own steps (`cellpose_tracking`), so
    that the result is what users of Cellpose get, instead of exactly (`flows.track`); model: what model its name must
    give after a colon, in words, or ""; prompted: whether that model draws again what SiMA+ found."""

    words: str
    statement: str
    networks: tuple[str, ...] = ()
    ladder: bool = False
    fusion: str = ""
    attention: str = ""
    selects: bool = False
    as_cellpose: bool = False
    model: str = ""
    prompted: bool = False

    @property
    def runs_sima_plus(self) -> bool:
        """Whether SiMA+ finds the crystals, at first or for good."""
        return self.selects or self.prompted


PACKAGE, HUB, PROMPTED = "cellpose-package", "hub", "hub-prompted"
# In the order in which they are offered; those with a model as NAME:MODEL.
METHODS = {
    "sima-plus": Method(
        "SiMA+: each crystal from the resolution that shows it best",
        f"{_NETWORK}; of the crystals that every resolution proposed, those most probably right were taken, judged by "
        "a network from a picture of each, the fit of flow and shape, and what the other resolutions propose (SiMA+).",
        ladder=True,
        selects=True,
    ),
    "sima": Method(
        "Cellpose+SiMA as published: resolutions weighted by attention maps",
        f"{_NETWORK}; its predictions were weighted by size-aware attention maps and {_TRACED} (Cellpose+SiMA, arXiv "
        "2401.03939).",
        ("cellpose", "sima"),
        ladder=True,
        fusion="attention",
        attention="sima",
    ),
    "sima-sa2": Method(
        "Cellpose+SiMA with attention maps by SA2-Net",
        f"{_NETWORK}; its predictions were weighted by size-aware attention maps (Cellpose+SiMA, arXiv 2401.03939), "
        f"which an SA2-Net (arXiv 2309.16661) drew, and {_TRACED}.",
        ("cellpose", "sima-sa2"),
        ladder=True,
        fusion="attention",
        attention="sima-sa2",
    ),
    "cellpose-original": Method(
        "Cellpose: the image rescaled once by its mean crystal size",
        f"{_NETWORK}, which brings the mean crystal to 50 px; its prediction was {_TRACED}.",
        ("cellpose", "size"),
        as_cellpose=True,
    ),
    "cellpose-multiscale": Method(
        "average of all resolutions",
        f"{_NETWORK}; its predictions were averaged and {_TRACED}.",
        ("cellpose",),
        ladder=True,
        fusion="average",
    ),
    "cellpose-maximum": Method(
        "strongest of all resolutions",
        f"{_NETWORK}; the strongest prediction was {_TRACED}.",
        ("cellpose",),
        ladder=True,
        fusion="maximum",
    ),
    "cellpose-noresize": Method(
        "Cellpose at full resolution only",
        f"{_NETWORK}; its prediction was {_TRACED}.",
        ("cellpose",),
        as_cellpose=True,
    ),
    "two-scale": Method(
        "two resolutions, divided at one crystal size",
        f"{_NETWORK}; large crystals were taken from the first, small ones from the second.",
        ("cellpose",),
        as_cellpose=True,
    ),
    "boundary": Method(
        "boundary lines (U-Net), regions between them",
        "A boundary network drew the lines between crystals; the regions between lines are crystals.",
        ("boundary",),
    ),
    "boundary-sa2": Method(
        "boundary lines (SA2-Net), watershed",
        "A boundary network (SA2-Net, arXiv 2309.16661) drew the lines between crystals and the ground they lie on; a "
        "watershed of the lines divided the ground.",
        ("boundary-sa2",),
    ),
    "watershed": Method(
        "Otsu threshold (crystals are the brighter; it divides noise, too), distance transform, watershed; no network",
        "What is brighter than Otsu's threshold was divided by a watershed of the distance transform. Otsu's threshold "
        "always divides, also where there is nothing but noise.",
    ),
    PACKAGE: Method(
        "a model of the cellpose package, if it is installed",
        "A model of the cellpose package segmented the image.",
        model="Model of the cellpose package: its file, or a name such as cyto3",
    ),
    HUB: Method(
        "a model of another family by its checkpoint: SAM, Mask2Former, Mask R-CNN, U-Net",
        "A model of another family segmented the image as its own library does.",
        model="Model: a folder as from_pretrained reads it, or a file of Mask R-CNN's weights",
    ),
    PROMPTED: Method(
        "SAM, SAM 2 or their like, asked for a mask in the box of each crystal that SiMA+ finds",
        f"{_NETWORK}; crystals were chosen among what every resolution proposed (SiMA+), and a promptable model drew "
        "the outline of each in its box.",
        model="Model: a folder as from_pretrained reads it",
        prompted=True,
    ),
}
# The flow networks, in words; SiMA+ can run each, the others run CPNet as published. `folded:NAME:VERSION` is one with
# the weights of a model on record, taught a material or brought by a user.
FLOW_NETWORKS = {
    "folded": "Cellpose's architecture at half resolution, with outlines",
    "cellpose": "Cellpose's architecture",
    "efficientnet": "a U-Net on EfficientNet-Lite0, with outlines",
}
# The weights that judge what each proposes to SiMA+.
JUDGES = {"folded": "folded-confidence", "cellpose": "confidence", "efficientnet": "efficientnet-confidence"}
LADDERS = tuple(name for name, method in METHODS.items() if method.ladder)
NAMED = tuple(name for name, method in METHODS.items() if not method.model)  # those that a name says all of


def method_of(name: str) -> Method:
    """The method that `Settings.method` names, whatever model it gives after a colon."""
    return METHODS[name.partition(":")[0]]


def architecture_of(network: str) -> str:
    """Which of FLOW_NETWORKS a flow network is, whatever its weights."""
    return network.partition(":")[0]


def model_of(network: str) -> str:
    """The model on record, `NAME:VERSION`, whose weights a flow network has, or "" if the shipped ones."""
    return network.partition(":")[2]


def words_of(network: str) -> str:
    """A flow network in words."""
    model = model_of(network)
    return FLOW_NETWORKS[architecture_of(network)] + (f"; model {model}" if model else "")


def statement_of(method: str, network: str, factors: str) -> str:
    """The method's statement, with resize factors in words and the flow network of the settings."""
    known = method_of(method)
    runs = known.runs_sima_plus or architecture_of(network) in known.networks
    return known.statement.format(factors=factors, network=words_of(network if runs else "cellpose"))


def runs_flow(method: str) -> bool:
    """Whether a flow network makes the method's crystals."""
    known = method_of(method)
    return known.runs_sima_plus or "cellpose" in known.networks


def networks_in(directory: Path = DIRECTORY) -> list[str]:
    """The flow networks that SiMA+ can run with the weights in a folder."""
    return [n for n, judge in JUDGES.items() if all((directory / f"{f}.safetensors").is_file() for f in (n, judge))]


def networks_of(method: str, network: str) -> tuple[str, ...]:
    """The weights that a method needs, by name, if SiMA+ runs `network`."""
    known, flow = method_of(method), architecture_of(network)
    return (flow, JUDGES[flow]) if known.runs_sima_plus else known.networks
