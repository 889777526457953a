"""The text form of a graph: `print_graph` and `parse`, an exact round trip.

    graph      = "graph" region
    region     = name "(" [ binding { "," binding } ] ")" "{" { equation } "return" [ results ] "}"
    binding    = "%name" ":" type
    equation   = [ binding { "," binding } "=" ] op "(" [ argument { "," argument } ] ")" { held }
    argument   = atom | key "=" value
    held       = label [ name ] "(" ... as a region, whose name is the label where none is given
    atom       = "%name" | number [ ":" type ]
    results    = { "%parameter" ":=" } atom { "," ... }      ":=" marks an update of the parameter
    value      = number | "true" | "false" | "none" | string | dense | "(" values ")"
    dense      = "dense" "(" type "," ( "[" numbers "]" | string of base64 ) ")"

Names of graphs, ops and attributes that are not plain words are quoted.  A number without a type
has the type of the first variable among its equation's inputs.  A comment `# file:line` at the end
of the line on which an equation begins is the user's source line; other comments are ignored.
"""

from graphc.text.parsing import parse
from graphc.text.printing import layout, print_graph
from graphc.text.values import literal_text, value_text

__all__ = ["layout", "literal_text", "parse", "print_graph", "value_text"]
