"""Makes a clone of the repository importable as it lies there.

passes/ and runtime/ are graphc.passes and graphc.runtime.  An installed graphc has them inside its
folder; in a clone they lie beside it, and this folder hides the installed one.
"""

import os

import graphc

_beside = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if os.path.isfile(os.path.join(_beside, "passes", "pipeline.py")):
    graphc.__path__.append(_beside)
