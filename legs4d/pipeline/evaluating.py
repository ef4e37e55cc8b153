"""How good a run is, with pages to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from legs4d.context import QUIET, Context
from legs4d.gaussians.store.footage import find_footage
from legs4d.gaussians.store.run import Run
from legs4d.grounding import query
from legs4d.grounding.truth import read_truth, true_intervals


def evaluate(
    run_folder: str | Path,
    context: Context = QUIET,
    *,
    dataset: str | Path | None = None,
    grounding: str | Path | None = None,
    pictures: str | Path | None = None,
    plot: str | Path | None = None,
    lpips: str | Path | None = None,
    track: int | None = None,
    per_pixel: bool = False,
) -> dict[str, Any]:
    """Compare a finished run with its test cameras' pictures, and with true masks.

    Args:
        dataset: where the footage is now, if not where it was last.
        grounding: folder of true masks (`grounding.truth`); adds `grounding` to the result.
        pictures: folder for `test_views.png`, `actions.png` where the run says what its objects do, and, with
            `grounding`, a contact sheet, a timeline, a plot of its scores
            and pages of its masks against the true ones.
        plot: file for the scores over time.
        lpips: "alex" or "vgg", whose weights are among the priors, or a file of weights (`priors.perceptual.lpips`);
            without it, LPIPS is None.
        track: an object of the dataset's objects/; adds `tracking` to the result.
        per_pixel: whether relevancy is decoded per pixel, see `grounding.benchmark.evaluate`.

    Returns:
        As `reconstruct.evaluate.evaluate_pictures`, `grounding` as `grounding.benchmark.evaluate`, and `tracking` as
        `reconstruct.evaluation.object_tracking.evaluate_tracking`.
    """
    run = Run.open(run_folder)
    sequence = find_footage(run, dataset, context)
    from legs4d.effects.pages.actions_page import actions_page
    from legs4d.effects.pages.mask_page import write_mask_pages
    from legs4d.effects.pages.metrics_plot import metrics_plot
    from legs4d.effects.pages.report import write_report
    from legs4d.effects.pages.score_plot import score_plot
    from legs4d.effects.pages.views_page import write_test_views
    from legs4d.grounding.benchmark import evaluate as evaluate_grounding
    from legs4d.priors.perceptual.lpips import open_lpips
    from legs4d.reconstruct.evaluation.evaluate import evaluate_pictures
    from legs4d.reconstruct.evaluation.object_tracking import evaluate_tracking
    from legs4d.reconstruct.stages import choose_device

    device = choose_device(context.engine)
    distance = None if lpips is None else open_lpips(lpips, device)
    result = evaluate_pictures(run, sequence, device, context, lpips=distance)
    if plot is not None:
        score_plot(plot, result)
    if pictures is not None:
        write_test_views(run, sequence, Path(pictures) / "test_views.png", device)
        actions_page(Path(pictures) / "actions.png", run)
    if track is not None:
        result["tracking"] = evaluate_tracking(run, sequence, track, device, context)
    if grounding is not None:
        result["grounding"] = evaluate_grounding(run, grounding, context, per_pixel=per_pixel, device=device)
        truth = true_intervals(read_truth(grounding), run.info["frame_numbers"])
        if pictures is not None and truth:
            groundings = query(run, list(truth))
            write_report(run, sequence, groundings, pictures, device, truth)
            metrics_plot(Path(pictures) / "grounding.png", result["grounding"])
            write_mask_pages(run, groundings, grounding, pictures, device, per_pixel=per_pixel)
    return result
