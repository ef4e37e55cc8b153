"""Canonical Gaussians and what bends them in time: footage of one moving camera, or of a few.

`stage.Deformation` makes a run of footage, resumable at any step; `fit.Fit` is what it steps, and `result.write_result`
stores it. `footage` is what a fit knows of the pictures, `fields` what bends, `fitting` what is optimised and when.
"""
