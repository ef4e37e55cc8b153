"""The browser page of `legs4d view`, for those without Blender: splats, timeline, prompts. Needs the extra `view`."""
