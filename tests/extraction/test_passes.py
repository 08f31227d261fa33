from extraction.passes import Pass, plan_passes
from extraction.scaling import SCALE_RULES


def both(side: int) -> dict[str, int]:
    return {"global": side, "local": side}


def test_plan_runs_only_what_is_wanted_in_the_order_of_the_scales():
    assert plan_passes((2.0, 0.5, 1.0), (2, 0, 2), (100, 60), both(10)) == [
        Pass(2.0, (200, 120), ("global", "local")),
        Pass(0.5, (50, 30), ("local",)),
        Pass(1.0, (100, 60), ("global", "local")),
    ]


def test_plan_rounds_by_the_rule():
    assert [p.size for p in plan_passes((0.5,), (0,), (25, 27), both(2))] == [(12, 14)]
    assert [p.size for p in plan_passes((0.5,), (0,), (25, 27), both(2), SCALE_RULES["superglobal"])] == [(12, 13)]


def test_plan_leaves_out_scales_below_the_smallest_side():
    passes = plan_passes((0.25, 0.5, 1.0), (0, 1), (100, 40), both(20))
    assert passes == [Pass(0.5, (50, 20), ("global", "local")), Pass(1.0, (100, 40), ("local",))]


def test_plan_raises_the_sides_where_no_scale_is_left():
    assert plan_passes((0.5, 1.0), (1,), (500, 3), both(20)) == [Pass(1.0, (500, 20), ("global", "local"))]
    assert plan_passes((0.5, 1.0), (0, 1), (1, 1), both(20)) == [Pass(1.0, (20, 20), ("global", "local"))]
    assert plan_passes((0.5, 2.0), (0,), (30, 12), both(20)) == [  # the global scale is too small, the local one is not
        Pass(0.5, (20, 20), ("global",)),
        Pass(2.0, (60, 24), ("local",)),
    ]


def test_each_head_has_its_own_smallest_side():
    assert plan_passes((0.5, 1.0), (0, 1), (90, 80), {"global": 65, "local": 5}) == [
        Pass(0.5, (45, 40), ("local",)),
        Pass(1.0, (90, 80), ("global", "local")),
    ]
    assert plan_passes((0.5, 1.0), (0,), (90, 80), {"global": 65, "local": 5}) == [
        Pass(0.5, (65, 65), ("global", "local")),
        Pass(1.0, (90, 80), ("local",)),
    ]


def test_a_model_without_a_local_head_runs_at_the_global_scales_only():
    assert plan_passes((0.5, 1.0, 2.0), (1,), (90, 80), {"global": 5}) == [Pass(1.0, (90, 80), ("global",))]
