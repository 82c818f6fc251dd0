"""Every method of segmentation: its name, its description, the networks it needs. `pipeline` runs the methods."""

from dataclasses import dataclass
from pathlib import Path

from crystalseg.networks import DIRECTORY

_NETWORK = "A flow network ({network}) was run on the image at resize factors {factors}"
_TRACED = "traced to one label per crystal"


@dataclass(frozen=True)
class Method:
    """A method of segmentation. words: a short description; statement: the first sentence or two of a report's method
    statement, with `{factors}` for the resize factors and `{network}` for the words of the flow network; networks: the
    names of the weights it needs (SiMA+: see `networks_of`); ladder: whether it uses the resize factors that a user may
    choose; fusion: how it combines the flows of the scales (`attention`, `average`, `maximum`), or ""; attention: the
    name of the weights of the network whose size levels weight the scales; selects: whether each crystal comes from one
    scale of a ladder of octaves; as_cellpose: whether crystals are traced by Cellpose's own steps
    (`cellpose_tracking`), which gives the result that users of Cellpose get, instead of exactly (`flows.track`); model:
    a description of the model that its name must give after a colon, or ""; prompted: whether that model redraws the
    crystals of SiMA+."""

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
        """Whether SiMA+ finds the crystals, as the result or as a first step."""
        return self.selects or self.prompted


PACKAGE, HUB, PROMPTED = "cellpose-package", "hub", "hub-prompted"
# In the order in which they are offered. A method that needs a model is named NAME:MODEL.
METHODS = {
    "sima-plus": Method(
        "SiMA+: each crystal from the resolution that shows it best",
        f"{_NETWORK} to propose crystals. The proposals most probably right were taken. A network judged "
        "them by a picture of each, the fit of flow and shape, and the proposals of the other resolutions (SiMA+).",
        ladder=True,
        selects=True,
    ),
    "sima": Method(
        "Cellpose+SiMA as published: resolutions weighted by attention maps",
        f"{_NETWORK}. Its predictions were weighted by size-aware attention maps and {_TRACED} (Cellpose+SiMA, arXiv "
        "2401.03939).",
        ("cellpose", "sima"),
        ladder=True,
        fusion="attention",
        attention="sima",
    ),
    "sima-sa2": Method(
        "Cellpose+SiMA with attention maps by SA2-Net",
        f"{_NETWORK}. Its predictions were weighted by size-aware attention maps (Cellpose+SiMA, arXiv 2401.03939), "
        f"drawn by an SA2-Net (arXiv 2309.16661), and {_TRACED}.",
        ("cellpose", "sima-sa2"),
        ladder=True,
        fusion="attention",
        attention="sima-sa2",
    ),
    "cellpose-original": Method(
        "Cellpose: the image rescaled once by its mean crystal size",
        f"{_NETWORK}, which scales the mean crystal to 50 px. Its prediction was {_TRACED}.",
        ("cellpose", "size"),
        as_cellpose=True,
    ),
    "cellpose-multiscale": Method(
        "average of all resolutions",
        f"{_NETWORK}. Its predictions were averaged and {_TRACED}.",
        ("cellpose",),
        ladder=True,
        fusion="average",
    ),
    "cellpose-maximum": Method(
        "strongest of all resolutions",
        f"{_NETWORK}. The strongest prediction was {_TRACED}.",
        ("cellpose",),
        ladder=True,
        fusion="maximum",
    ),
    "cellpose-noresize": Method(
        "Cellpose at full resolution only",
        f"{_NETWORK}. Its prediction was {_TRACED}.",
        ("cellpose",),
        as_cellpose=True,
    ),
    "two-scale": Method(
        "two resolutions, separated at one crystal size",
        f"{_NETWORK}. Large crystals were taken from the first, small ones from the second.",
        ("cellpose",),
        as_cellpose=True,
    ),
    "boundary": Method(
        "boundary lines (U-Net) and the regions between them",
        "A boundary network drew the lines between crystals. The regions between the lines are the crystals.",
        ("boundary",),
    ),
    "boundary-sa2": Method(
        "boundary lines (SA2-Net), watershed",
        "A boundary network (SA2-Net, arXiv 2309.16661) drew the lines between crystals and the ground they lie on. A "
        "watershed of the lines divided the ground.",
        ("boundary-sa2",),
    ),
    "watershed": Method(
        "Otsu threshold (crystals must be brighter; also divides noise), distance transform, watershed; no network",
        "Pixels brighter than Otsu's threshold were divided by a watershed of the distance transform. Otsu's threshold "
        "always divides an image, even one that holds only noise.",
    ),
    PACKAGE: Method(
        "a model of the cellpose package, if it is installed",
        "A model of the cellpose package segmented the image.",
        model="Model of the cellpose package: its file, or a name such as cyto3",
    ),
    HUB: Method(
        "a model of another family from its checkpoint: SAM, Mask2Former, Mask R-CNN, U-Net",
        "A model of another family segmented the image with its own library.",
        model="Model: a folder that from_pretrained can read, or a file with weights of Mask R-CNN",
    ),
    PROMPTED: Method(
        "SAM, SAM 2 or a similar model, asked for a mask in the box of each crystal that SiMA+ finds",
        f"{_NETWORK} to propose crystals. SiMA+ chose among the proposals, and a promptable model drew the "
        "outline of each crystal in its box.",
        model="Model: a folder that from_pretrained can read",
        prompted=True,
    ),
}
# The flow networks, in words. SiMA+ can run each; other methods run CPNet as published. `folded:NAME:VERSION` is a flow
# network with the weights of a model on record, taught on a material or brought by a user.
FLOW_NETWORKS = {
    "folded": "Cellpose's architecture at half resolution, with outlines",
    "cellpose": "Cellpose's architecture",
    "efficientnet": "a U-Net on EfficientNet-Lite0, with outlines",
}
# The weights of the judge for the proposals of each flow network.
JUDGES = {"folded": "folded-confidence", "cellpose": "confidence", "efficientnet": "efficientnet-confidence"}
LADDERS = tuple(name for name, method in METHODS.items() if method.ladder)
NAMED = tuple(name for name, method in METHODS.items() if not method.model)  # methods that need no model in their name


def method_of(name: str) -> Method:
    """Return the method that `Settings.method` names, without the model it gives after a colon."""
    return METHODS[name.partition(":")[0]]


def architecture_of(network: str) -> str:
    """Return the one of FLOW_NETWORKS that a flow network is, whatever its weights."""
    return network.partition(":")[0]


def model_of(network: str) -> str:
    """Return the model on record, `NAME:VERSION`, that gives a flow network its weights, or "" for shipped weights."""
    return network.partition(":")[2]


def words_of(network: str) -> str:
    """Return the words for a flow network."""
    model = model_of(network)
    return FLOW_NETWORKS[architecture_of(network)] + (f"; model {model}" if model else "")


def statement_of(method: str, network: str, factors: str) -> str:
    """Return the statement of a method, with the resize factors and the flow network of the settings in words."""
    known = method_of(method)
    runs = known.runs_sima_plus or architecture_of(network) in known.networks
    return known.statement.format(factors=factors, network=words_of(network if runs else "cellpose"))


def runs_flow(method: str) -> bool:
    """Return whether a flow network makes the crystals of the method."""
    known = method_of(method)
    return known.runs_sima_plus or "cellpose" in known.networks


def networks_in(directory: Path = DIRECTORY) -> list[str]:
    """Return the flow networks that SiMA+ can run with the weights in a folder."""
    return [n for n, judge in JUDGES.items() if all((directory / f"{f}.safetensors").is_file() for f in (n, judge))]


def networks_of(method: str, network: str) -> tuple[str, ...]:
    """Return the names of the weights that a method needs if SiMA+ runs `network`."""
    known, flow = method_of(method), architecture_of(network)
    return (flow, JUDGES[flow]) if known.runs_sima_plus else known.networks
