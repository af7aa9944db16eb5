//! What each kind of node does: sources, bases, steps, images, artifacts, charts, effects.
