import numpy as np
import pytest
import xarray as xr

from sealiency.config.attribution import Attribution, Instance, Pixel
from sealiency.data.places import (
    choose_places,
    find_coast,
    find_open_box,
    find_open_sea,
    list_block_pixels,
    locate_pixel,
)
from sealiency.errors import SealiencyError
from sealiency.naming import name_blocks

LAT, LON = np.arange(40.5, 60), np.arange(-49.5, -24)
COAST = Pixel(name="coast", row=10, column=8)
OPEN = np.ones((LAT.size, LON.size), bool)


def make_ocean() -> np.ndarray:
    """Sea of 20 x 26 cells with land in the north-west, of which only the rim lies by the coast."""
    ocean = np.ones((LAT.size, LON.size), bool)
    ocean[12:, :6] = False
    return ocean


def choose(target=None, ocean=None, **settings):
    target = np.zeros((LAT.size, LON.size)) if target is None else target
    ocean = make_ocean() if ocean is None else ocean
    return choose_places(Instance(compared=COAST, **settings), target, ocean, LAT, LON)


# --- one pixel ---


@pytest.mark.parametrize(
    ("pixel", "cell"),
    [
        ({"row": 3, "column": 25}, (3, 25)),
        ({"lat": 40.5, "lon": -49.5}, (0, 0)),
        ({"lat": 43.1, "lon": -30.2}, (3, 19)),
        ({"lat": 43.1, "lon": 329.8}, (3, 19)),
        ({"lat": 59.9, "lon": -24.1}, (19, 25)),
    ],
)
def test_pixel_is_the_nearest_cell(pixel, cell):
    assert locate_pixel(Pixel(name="p", **pixel), OPEN, LAT, LON, "key") == cell


@pytest.mark.parametrize(
    ("pixel", "message"),
    [
        ({"row": 20, "column": 0}, "row 20, column 0 lies outside the region of 20 rows and 26 columns"),
        ({"row": 0, "column": 26}, "row 0, column 26 lies outside"),
        ({"lat": 65, "lon": -40}, r"65 N, -40 E lies outside the region 40.5..59.5 N, -49.5..-24.5 E"),
        ({"lat": 50, "lon": 10}, r"50 N, 10 E lies outside"),
    ],
)
def test_pixel_outside_the_region_is_refused(pixel, message):
    with pytest.raises(SealiencyError, match=f"instance.warm: pixel p at {message}"):
        locate_pixel(Pixel(name="p", **pixel), OPEN, LAT, LON, "instance.warm")


def test_listed_pixel_is_a_block():
    settings = Attribution(pixels=[Pixel(name="a", row=1, column=2), Pixel(name="b", lat=41.5, lon=-45.5)])
    assert name_blocks(settings) == ["a", "b"]
    assert list_block_pixels(settings, "b", make_ocean(), LAT, LON) == [("b", 1, 4)]


def test_land_pixel_is_refused():
    settings = Attribution(pixels=[Pixel(name="a", row=15, column=2)])
    message = r"attribution.pixels: pixel a \(row 15, column 2, 55.5 N, -47.5 E\) is on land"
    with pytest.raises(SealiencyError, match=message):
        list_block_pixels(settings, "a", make_ocean(), LAT, LON)


@pytest.mark.parametrize("blocks", [1, 3, 7])
def test_all_pixels_are_every_ocean_cell_once(blocks):
    settings = Attribution(pixels="all", pixel_blocks=blocks)
    parts = [list_block_pixels(settings, name, make_ocean(), LAT, LON) for name in name_blocks(settings)]
    cells = [(row, column) for part in parts for _, row, column in part]
    assert sorted(cells) == [tuple(cell) for cell in np.argwhere(make_ocean()).tolist()]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_pixels_of_one_coarse_cell_stand_together():
    # 6 x 9 cells are 2 x 3 coarse ones of 3 x 3 cells.
    ocean = np.ones((6, 9), bool)
    ocean[0, 0] = False
    blocks = [
        list_block_pixels(Attribution(pixels="all", pixel_blocks=6), f"{block:04d}", ocean, LAT[:6], LON[:9])
        for block in range(6)
    ]
    assert blocks[0] == [
        (f"r{row}c{column}", row, column) for row in range(3) for column in range(3) if row or column
    ] + [("r0c3", 0, 3)]
    assert {(row // 3, column // 3) for _, row, column in blocks[5]} == {(1, 2)}


# --- A, B and C ---


def test_a_is_the_nearest_land_by_the_coast():
    places = choose()
    assert places["compared"] == (10, 8)
    # Two rows north of and three columns west of the compared pixel, the corner of the land.
    assert places["A"] == (12, 5)


def test_a_measures_distance_on_the_sphere():
    # Both four cells away; at 50 N four degrees of longitude are shorter than four of latitude.
    ocean = np.ones((LAT.size, LON.size), bool)
    ocean[6, 8] = ocean[10, 12] = False
    assert choose(ocean=ocean)["A"] == (10, 12)


def test_land_inside_land_is_not_by_the_coast():
    ocean = make_ocean()
    ocean[9:12, 7:10] = False
    ocean[9:12, 5:7] = True
    compared = Pixel(name="coast", row=8, column=8)
    places = choose_places(Instance(compared=compared), np.zeros(ocean.shape), ocean, LAT, LON)
    assert places["A"] == (9, 8)
    assert ocean[8, 8]


def test_b_and_c_are_the_extremes_away_from_the_edge():
    target = np.zeros((LAT.size, LON.size))
    target[4, 12] = target[15, 21] = target[14, 2] = 9  # edge, edge, land
    target[5, 20], target[14, 7] = 5, 4
    target[15, 12] = target[12, 4] = -9  # edge, land
    target[6, 6], target[14, 20] = -5, -4
    places = choose(target)
    assert (places["B"], places["C"]) == ((5, 20), (6, 6))


def test_edge_shrinks_on_a_small_grid():
    ocean = np.ones((5, 7), bool)
    ocean[0, 0] = False
    target = np.arange(35.0).reshape(5, 7)
    places = choose_places(Instance(compared=Pixel(name="p", row=2, column=2)), target, ocean, LAT[:5], LON[:7])
    # Two cells are left out at each edge, so that something is left.
    assert (places["B"], places["C"]) == ((2, 4), (2, 2))


def test_named_pixels_take_the_place_of_the_rules():
    places = choose(
        land=Pixel(name="a", row=19, column=0),
        warm=Pixel(name="b", row=0, column=0),
        cold=Pixel(name="c", row=1, column=1),
    )
    assert places == {"compared": (10, 8), "A": (19, 0), "B": (0, 0), "C": (1, 1)}


@pytest.mark.parametrize(
    ("key", "cell", "where"),
    [("land", (0, 0), "in the sea"), ("warm", (19, 0), "on land"), ("cold", (19, 0), "on land")],
)
def test_named_pixel_on_the_wrong_side_of_the_coast_is_refused(key, cell, where):
    pixel = Pixel(name="x", row=cell[0], column=cell[1])
    with pytest.raises(SealiencyError, match=f"instance.{key}: pixel x is {where}"):
        choose(**{key: pixel})


def test_compared_pixel_must_lie_in_the_sea():
    with pytest.raises(SealiencyError, match=r"instance.compared: pixel p .* is on land"):
        choose_places(
            Instance(compared=Pixel(name="p", row=19, column=0)), np.zeros(make_ocean().shape), make_ocean(), LAT, LON
        )


def test_region_without_coast_has_no_land_pixel():
    assert set(choose(ocean=np.ones((LAT.size, LON.size), bool))) == {"compared", "B", "C"}


def test_region_without_open_sea_needs_named_pixels():
    # Sea in the southernmost row alone, at the edge.
    ocean = np.zeros((LAT.size, LON.size), bool)
    ocean[0] = True
    compared = Pixel(name="p", row=0, column=3)
    with pytest.raises(SealiencyError, match=r"instance.warm, instance.cold: no ocean cell"):
        choose_places(Instance(compared=compared), np.zeros(ocean.shape), ocean, LAT, LON)


# --- places by a rule ---


def draw(*rows: str) -> np.ndarray:
    """Return an ocean mask from rows of `~` for sea and `#` for land, the first row in the south."""
    return np.array([[cell == "~" for cell in row] for row in rows])


@pytest.mark.parametrize(
    ("ocean", "sea", "coast"),
    [
        # In the middle of its sea, as far from land as from the edges.
        (draw("~~~~~~~##", "~~~~~~~##", "~~~~~~~##", "~~~~~~~##", "~~~~~~~##"), (2, 3), (2, 6)),
        # Without land, a neighbour; of equals the first.
        (draw("~~~", "~~~", "~~~"), (1, 1), (1, 0)),
        (draw("~~~~", "~~~~"), (0, 1), (0, 0)),
        # Hardly any sea.
        (draw("###", "#~#", "###"), (1, 1), (1, 1)),
        (draw("~"), (0, 0), (0, 0)),
        (draw("####", "~~##", "####"), (1, 0), (1, 1)),
        # Two seas: the wide one.
        (draw("~#~~~~~", "##~~~~~", "~#~~~~~", "~#~~~~~", "~#~~~~~"), (2, 4), (2, 2)),
    ],
    ids=["sea", "no land", "no land, even", "one cell", "nothing else", "strait", "two seas"],
)
def test_open_sea_and_coast_of_any_mask(ocean, sea, coast):
    lat, lon = np.arange(ocean.shape[0]) - 2.0, np.arange(float(ocean.shape[1]))
    assert find_open_sea(ocean) == sea
    assert find_coast(ocean, lat, lon) == coast
    for place, cell in (("open_sea", sea), ("coast", coast)):
        assert locate_pixel(Pixel(name="p", place=place), ocean, lat, lon, "key") == cell
    box = find_open_box(ocean)
    assert box[sea]
    assert (box & ocean).sum() >= 1


def test_coast_lies_inside_the_edge_where_it_can():
    ocean = np.ones((40, 60), bool)
    # An island by the edge, nearer than one inside.
    ocean[0, 30] = False
    assert find_coast(ocean, np.arange(40.0), np.arange(60.0)) == (1, 30)
    ocean[20, 50] = False
    row, column = find_coast(ocean, np.arange(40.0), np.arange(60.0))
    assert (row, column) == (20, 49)


def test_open_box_has_the_papers_share_of_the_region():
    ocean = np.ones((70, 125), bool)
    box = find_open_box(ocean)
    assert (box.any(1).sum(), box.any(0).sum()) == (7, 11)
    assert find_open_sea(ocean) == (34, 62)
    np.testing.assert_array_equal(np.argwhere(box).mean(0), (34, 62))


def test_places_of_the_whole_globe(shared_data):
    dataset = xr.open_dataset(shared_data / "cobesst2" / "cobesst2_sst_1950.nc").sortby("lat")
    ocean = dataset["sst"].notnull().all("time").values
    lat, lon = dataset["lat"].values, dataset["lon"].values
    row, column = find_open_sea(ocean)
    assert ocean[row - 9 : row + 10, column].all()
    assert ocean[row, column - 9 : column + 10].all()
    row, column = find_coast(ocean, lat, lon)
    assert ocean[row, column]
    assert not ocean[row - 1 : row + 2, column - 1 : column + 2].all()
