"""OpenExPose: a full human body, with fingers and face, out of one photo."""

__version__ = "0.1.0"
