"""Endless labelled photos of FreeBody: bodies, appearance, cameras, light, backgrounds, all from one seed.

A photo is a pure function of (seed, index). `scene.draw_scene` decides everything with numpy generators,
`photo.Studio` makes the picture and its labels, `stream` feeds them to training, docs/synth.md tells the story.
"""
