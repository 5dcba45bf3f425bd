"""Which joint is which: naming conventions, what users say, and what is missing."""

import pytest
from made_rigs import Shape, Skeleton, bvh_rig, glb_rig, skeleton
from rig_names import CONVENTIONS, MIXAMO, NAMELESS, RIGIFY, vrm_bones

from choreo.errors import InvalidInput
from choreo.rigs.animate import character_of
from choreo.rigs.joint_map import OPTIONAL, REQUIRED, GivenMap


def expected(names: dict[str, str]) -> dict[str, object]:
    parts = {part: names[part] for part in (*REQUIRED, *OPTIONAL)}
    return parts | {"spine": [names[f"spine{i}"] for i in (1, 2, 3)], "neck": [names["neck"]]}


@pytest.mark.parametrize("name", CONVENTIONS)
@pytest.mark.parametrize("arms_down", [0, 45])
def test_conventions_map_without_help(name: str, arms_down: float) -> None:
    names, extras = CONVENTIONS[name]
    made = skeleton(Shape(arms_down=arms_down), names, extras)
    assert character_of(glb_rig(made), ".glb").mapping == expected(dict(names))
    if name != "nameless":  # end sites change the shape of the tree
        assert character_of(bvh_rig(made, z_up=True), ".bvh").mapping == expected(dict(names))


@pytest.mark.parametrize("spine", [["spine_01"], [f"spine_0{i}" for i in range(1, 6)]], ids=len)
def test_spines_of_any_number_of_joints(spine: list[str]) -> None:
    made = skeleton(Shape(), CONVENTIONS["ue5"][0])
    names, parents = [], []
    for name, parent in zip(made.names, made.parents, strict=True):  # one joint or five in the place of three
        names.append(name)
        parents.append(parent)
    top = names.index("spine_05")
    low, middle = names.index("spine_01"), names.index("spine_03")
    if len(spine) == 1:
        keep = [j for j in range(len(names)) if j not in (middle, top)]
        moved = {old: new for new, old in enumerate(keep)} | {middle: keep.index(low), top: keep.index(low)}
        parents = [moved.get(parents[j], -1) for j in keep]
        made = Skeleton([names[j] for j in keep], parents, made.positions[keep])
    else:
        names[middle : middle + 1] = ["spine_02", "spine_03", "spine_04"]
        shifted = [p + 2 if p >= middle else p for p in parents]
        shifted[middle : middle + 1] = [low, middle, middle + 1]
        places = made.positions[[*range(middle + 1), middle, *range(middle, len(made.names))]].copy()
        places[middle + 1 : middle + 3, 1] += 0.01
        made = Skeleton(names, shifted, places)
    assert character_of(glb_rig(made), ".glb").mapping["spine"] == spine


def test_the_file_itself_counts_more_than_names() -> None:
    swapped = MIXAMO | {"left_wrist": MIXAMO["right_wrist"], "right_wrist": MIXAMO["left_wrist"]}
    made = skeleton(Shape(), swapped)
    more = {"extensions": {"VRMC_vrm": {"humanoid": {"humanBones": vrm_bones(made.index)}}}}
    assert character_of(glb_rig(made, more=more), ".vrm").mapping["left_wrist"] == "mixamorig:RightHand"


def test_what_the_user_says_counts_most() -> None:
    made = skeleton(Shape(), MIXAMO, [("LeftShinHelper", "left_knee", (0, 0, 0))])
    given = GivenMap({"spine": ("mixamorig:Spine1",), "left_foot": (), "head": ("mixamorig:Head",)})
    mapping = character_of(glb_rig(made), ".glb", given).mapping
    assert mapping["spine"] == ["mixamorig:Spine1"]
    assert "left_foot" not in mapping
    assert mapping["right_foot"] == "mixamorig:RightToeBase"


def test_a_map_names_what_nothing_else_finds() -> None:
    names = {part: f"b{i}" for i, part in enumerate(MIXAMO)}
    made = skeleton(Shape(), {part: name for part, name in names.items() if part != "left_foot"})
    given = GivenMap({part: (names[part],) for part in REQUIRED})
    assert character_of(glb_rig(made), ".glb", given).mapping["left_knee"] == names["left_knee"]


@pytest.mark.parametrize("part", ["left_elbow", "right_knee", "left_ankle", "head"])
def test_a_missing_joint_is_refused_by_name(part: str) -> None:
    gone = {part} | ({"neck"} if part == "head" else set())
    made = skeleton(Shape(), {name: joint for name, joint in MIXAMO.items() if name not in gone})
    with pytest.raises(InvalidInput) as error:
        character_of(glb_rig(made), ".glb")
    assert error.value.field == "rig"
    assert repr(part) in error.value.message


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"left_knee": ("Shin",)}, "map", "left_knee is 'Shin', and the rig has no joint of that name"),
        ({"left_knee": ("twice",)}, "map", "2 joints of that name"),
        ({"left_knee": ()}, "rig", "no joint for 'left_knee': say in a map file"),
        ({"left_knee": ("mixamorig:RightLeg",)}, "rig", "left_knee ('mixamorig:RightLeg') that does not hang on"),
    ],
)
def test_maps_that_cannot_be(given: dict[str, tuple[str, ...]], field: str, says: str) -> None:
    made = skeleton(Shape(), MIXAMO, [("twice", "head", (0, 0.1, 0)), ("twice", "left_wrist", (0.1, 0, 0))])
    with pytest.raises(InvalidInput) as error:
        character_of(glb_rig(made), ".glb", GivenMap(given))
    assert error.value.field == field
    assert says in error.value.message


def test_rigify_bones_that_hang_on_others() -> None:
    """In the whole rig, the bones that move the mesh hang on those that carry them, which then dance."""
    org = {part: name.replace("DEF-", "ORG-") for part, name in RIGIFY.items()}
    made = skeleton(Shape(), org, [(name, part, (0.0, 0.0, 0.0)) for part, name in RIGIFY.items()])
    assert character_of(glb_rig(made), ".glb").mapping["left_knee"] == "ORG-shin.L"


def test_a_rest_pose_in_the_middle_of_a_dance_is_noted() -> None:
    made = skeleton(Shape(), MIXAMO)
    places = made.positions.copy()
    places[made.index["left_wrist"]] = places[made.index["left_shoulder"]] + (0.1, 0, 0.1)
    (note,) = character_of(glb_rig(Skeleton(made.names, made.parents, places)), ".glb").notes
    assert "no T or A pose" in note


def test_a_rest_pose_that_lies_is_refused() -> None:
    made = skeleton(Shape(), NAMELESS)
    bones = {"extensions": {"VRMC_vrm": {"humanoid": {"humanBones": vrm_bones(made.index)}}}}
    places = made.positions.copy()
    for part in ("left_ankle", "right_ankle"):
        places[made.index[part]] += (0, 1.5, 0)
    with pytest.raises(InvalidInput, match="rest pose that does not stand"):
        character_of(glb_rig(Skeleton(made.names, made.parents, places), more=bones), ".vrm")
