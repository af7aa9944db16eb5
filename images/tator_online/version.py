"""What the site says of its version where the source tree does not say it itself.

Static files are found by the link `current` of the static volume, not by a revision.
"""


class Git:
    pretty = "unknown"
    sha = "current"
