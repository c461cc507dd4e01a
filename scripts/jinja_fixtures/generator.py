"""Random templates, most of them valid: expressions by type, statements around them."""

VARIABLES = {
    "i": 7, "j": -3, "z": 0, "x": 2.5, "y": -0.1, "s": "Hello World", "t": "añb, ç 你好", "e": "",
    "sp": " \t a  b\u00a0\n", "q": "it's \"q\" <b>&\\", "b": True, "no": None,
    "l": [3, 1, 2], "ls": ["b", "A", "c", "a"], "lm": [1, "a", None, 2.5, [1]], "el": [],
    "d": {"k": 1, "a": "v", "items": [1]}, "ed": {},
    "people": [{"n": "Zoe", "a": 30, "t": "x"}, {"n": "adam", "a": 25}, {"n": "Bob", "a": 30, "t": None}],
}
INTS = ["0", "1", "2", "-1", "7", "10", "100", "1000000", "12345678901234567890"]
STRINGS = ["''", "'a'", "'Hello'", "' '", "'a,b,,c'", "'é你'", "'it\\'s'", "\"x\\ny\"", "'%s'", "'{}'", "'12'", "'3.7'", "'o'", "'l'"]
TEXT_METHODS = ["upper()", "lower()", "title()", "capitalize()", "swapcase()", "strip()", "lstrip()", "rstrip()",
                "strip('a ')", "replace('a', 'bb')", "replace('', '-')", "center(9)", "ljust(6, '.')", "rjust(6)", "zfill(6)",
                "removeprefix('H')", "removesuffix('d')", "expandtabs(3)", "format(1, 'a')", "join(['x', 'y'])", "join('abc')"]
TEXT_FILTERS = ["upper", "lower", "title", "capitalize", "trim", "replace('l', 'L')", "replace('l', 'L', 1)", "string", "indent(2)",
                "indent(1, true, true)", "truncate(7)", "truncate(5, true, '..')", "center(8)", "reverse", "e", "safe", "default('D')",
                "default('D', true)", "urlencode", "tojson", "tojson(true)", "list | join('.')", "first", "last", "join('-')", "forceescape", "format"]
LIST_FILTERS = ["list", "sort", "sort(reverse=true)", "sort(case_sensitive=true)", "unique | list", "reverse | list", "batch(2) | list", "batch(2, 0) | list",
                "slice(2) | list", "slice(2, 'f') | list", "map('string') | list", "map('upper') | list", "map('int', 9) | list", "select | list", "reject | list",
                "select('string') | list", "reject('none') | list", "select('number') | list", "map('default', 1) | list", "select('defined') | list"]
TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "mapping", "iterable", "sequence", "callable",
         "odd", "even", "divisibleby 3", "divisibleby(2)", "lower", "upper", "true", "false", "eq 1", "ne(2)", "gt 0", "lessthan 5", "in [1, 'a']",
         "in('abc')", "sameas none", "escaped", "filter", "test"]
FORMATS = ["'%s'", "'%5s|'", "'%-4s|'", "'%r'", "'%d'", "'%05d'", "'%+.2f'", "'%x'", "'%e'", "'%g'", "'%.3s'", "'%c'", "'%s %s'", "'%%'", "'%o'", "'%#X'", "'% d'", "'%G'", "'%10.4f'"]
BRACES = ["'{}'", "'{:>6}'", "'{:<6}|'", "'{:^7}|'", "'{:*^7}'", "'{!r}'", "'{:d}'", "'{:,}'", "'{:.2f}'", "'{:e}'", "'{:x}'", "'{:+}'", "'{:05}'", "'{0}{0}'", "'{:%}'", "'{:_}'", "'{:.2}'", "'{:g}'", "'{:b}'", "'{:#o}'", "'{:s}'"]

ROUNDS = ["", "1", "2", "3", "1, 'ceil'", "0, 'floor'"]
SPLITS = ["split()", "split(',')", "split('l', 1)", "rsplit(' ', 1)", "splitlines()", "partition('l')", "split(none, 1)"]
QUESTIONS = ["isdigit()", "isalpha()", "isspace()", "isupper()", "islower()", "istitle()", "isalnum()", "startswith('H')", "endswith(('d', 'a'))"]


class Generator:
    def __init__(self, random):
        self.random = random
        self.names = []

    def pick(self, *choices):
        return self.random.choice(choices)

    def any(self, depth):
        return self.random.choice([self.int, self.int, self.real, self.str, self.str, self.list, self.dict, self.bool, self.odd])(depth)

    def odd(self, depth):
        """What may be anything, or fail."""
        r = self.random
        if depth <= 0:
            return self.pick("none", "no", "nope", "d.nope", "lm", "q", "()", "d", "people", "range(3)", *self.names[-3:])
        form = r.randrange(12)
        if form == 0: return f"({self.any(depth - 1)} {self.pick('+', '-', '*', '//', '%', '/', '~')} {self.any(depth - 1)})"
        if form == 1: return f"({self.any(depth - 1)})[{self.int(depth - 1)}]"
        if form == 2: return f"({self.any(depth - 1)}) | {self.pick(*TEXT_FILTERS, *LIST_FILTERS, 'int', 'float', 'abs', 'round', 'length', 'sum', 'min', 'max', 'wordcount', 'tojson(indent=1)', 'items | list', 'dictsort', 'count')}"
        if form == 3: return f"({self.any(depth - 1)} if {self.bool(depth - 1)})"
        if form == 4: return f"({self.any(depth - 1)} {self.pick('and', 'or')} {self.any(depth - 1)})"
        if form == 5: return f"({self.any(depth - 1)}).{self.pick('upper', 'k', 'items', 'a', 'nope', 'split', 'index')}{self.pick('', '()')}"
        if form == 6: return f"({self.pick(self.str, self.list)(depth - 1)})[{self.slice(depth - 1)}]"
        if form == 7: return f"[{self.any(depth - 1)}, {self.any(depth - 1)}]"
        if form == 8: return f"({self.any(depth - 1)},)"
        if form == 9: return f"{{{self.str(depth - 1)}: {self.any(depth - 1)}}}"
        if form == 10: return f"({self.pick(*FORMATS)} % {self.any(depth - 1)})"
        return f"{self.pick(*BRACES)}.format({self.any(depth - 1)})"

    def slice(self, depth):
        part = lambda: self.pick("", "", "1", "-1", "2", "-2", "i", "j")
        return part() + ":" + part() + self.pick("", "", ":2", ":-1", ":-2", ":3")

    def int(self, depth):
        r = self.random
        if depth <= 0:
            return self.pick(*INTS, "i", "j", "z")
        form = r.randrange(9)
        if form < 3: return f"({self.int(depth - 1)} {self.pick('+', '-', '*', '//', '%')} {self.int(depth - 1)})"
        if form == 3: return f"({self.int(depth - 1)} ** {self.pick('0', '1', '2', '3')})"
        if form == 4: return f"-{self.int(depth - 1)}"
        if form == 5: return f"({self.str(depth - 1)} | length)"
        if form == 6: return f"({self.list(depth - 1)} | {self.pick('length', 'first', 'last', 'sum', 'max', 'min')})"
        if form == 7: return f"({self.pick('s', 't', 'q')}.{self.pick('find', 'rfind', 'count')}({self.str(0)}))"
        return f"({self.any(depth - 1)} | {self.pick('int', 'int(3)', 'abs', 'round', 'round(-1)', 'length')})"

    def real(self, depth):
        if depth <= 0:
            return self.pick("x", "y", "0.5", "1e3", "3.14159", "1e-7", "2.0", "1e20")
        form = self.random.randrange(5)
        if form < 2: return f"({self.real(depth - 1)} {self.pick('+', '-', '*', '/', '//', '%')} {self.pick(self.real, self.int)(depth - 1)})"
        if form == 2: return f"({self.int(depth - 1)} / {self.pick('2', '4', '3', 'i')})"
        if form == 3: return f"({self.real(depth - 1)} | round({self.pick(*ROUNDS)}))"
        return f"({self.str(depth - 1)} | float)"

    def str(self, depth):
        r = self.random
        if depth <= 0:
            return self.pick(*STRINGS, "s", "t", "e", "sp", "q")
        form = r.randrange(8)
        if form == 0: return f"({self.any(depth - 1)} ~ {self.any(depth - 1)})"
        if form == 1: return f"({self.str(depth - 1)} + {self.str(depth - 1)})"
        if form == 2: return f"({self.str(depth - 1)}).{self.pick(*TEXT_METHODS)}"
        if form == 3: return f"({self.str(depth - 1)} | {self.pick(*TEXT_FILTERS)})"
        if form == 4: return f"({self.str(depth - 1)})[{self.slice(depth - 1)}]"
        if form == 5: return f"({self.any(depth - 1)} | {self.pick('string', 'tojson', 'tojson(indent=2)', 'join', 'upper', 'e')})"
        if form == 6: return f"({self.list(depth - 1)} | join({self.str(depth - 1)}))"
        return f"({self.str(depth - 1)} * {self.pick('0', '1', '2', '3')})"

    def list(self, depth):
        r = self.random
        if depth <= 0:
            return self.pick("l", "ls", "el", "lm", "[1, 2]", "range(4) | list", "(people | map(attribute='n') | list)", "('a', 'b')")
        form = r.randrange(8)
        if form == 0: return f"[{', '.join(self.any(depth - 1) for _ in range(r.randrange(4)))}]"
        if form == 1: return f"({self.list(depth - 1)} | {self.pick(*LIST_FILTERS)})"
        if form == 2: return f"({self.list(depth - 1)})[{self.slice(depth - 1)}]"
        if form == 3: return f"({self.list(depth - 1)} + {self.list(depth - 1)})"
        if form == 4: return f"({self.str(depth - 1)}).{self.pick(*SPLITS)}"
        if form == 5: return f"({self.dict(depth - 1)}.{self.pick('keys()', 'values()', 'items()')} | list)"
        if form == 6: return "(people | " + self.pick("map(attribute='a')", "selectattr('t')", "rejectattr('t', 'defined')", "selectattr('a', 'gt', 26)", "sort(attribute='a')", "sort(attribute='n,a')", "groupby('a')", "map(attribute='t', default='?')", "unique(attribute='a')") + " | list)"
        return f"({self.list(depth - 1)} | select('{self.pick('string', 'number', 'none', 'defined', 'iterable')}') | list)"

    def dict(self, depth):
        if depth <= 0:
            return self.pick("d", "ed", "{'a': 1}", "people[0]", "{'b': [1], 'a': none}", "dict(z=1, a='x')")
        return self.pick(f"{{{self.str(depth - 1)}: {self.any(depth - 1)}, 'z': {self.any(depth - 1)}}}", f"dict({self.dict(depth - 1)}, k={self.any(depth - 1)})")

    def bool(self, depth):
        if depth <= 0:
            return self.pick("true", "false", "b", "not b")
        form = self.random.randrange(7)
        kind = self.pick(self.int, self.str, self.real, self.list)
        if form == 0: return f"({kind(depth - 1)} {self.pick('<', '<=', '>', '>=', '==', '!=')} {kind(depth - 1)})"
        if form == 1: return f"({self.any(depth - 1)} {self.pick('==', '!=')} {self.any(depth - 1)})"
        if form == 2: return f"({self.any(depth - 1)} {self.pick('in', 'not in')} {self.pick(self.list, self.str, self.dict)(depth - 1)})"
        if form == 3: return f"({self.any(depth - 1)} is {self.pick('', 'not ')}{self.pick(*TESTS)})"
        if form == 4: return f"(not {self.any(depth - 1)})"
        if form == 5: return f"({self.int(depth - 1)} < {self.int(depth - 1)} <= {self.int(depth - 1)})"
        return f"(({self.str(depth - 1)}).{self.pick(*QUESTIONS)})"

    # Statements.

    def sign(self):
        return self.pick("", "", "", "-", "-", "+")

    def tag(self, text):
        return "{%" + self.sign() + " " + text + " " + self.sign() + "%}"

    def data(self):
        return self.pick("", " ", "\n", "a", "  \n  ", "x\n", " b ", "\n\n", "\t", "{", "é")

    def body(self, depth, in_loop=False):
        return "".join(self.data() + self.statement(depth, in_loop) for _ in range(self.random.randrange(1, 4))) + self.data()

    def statement(self, depth, in_loop=False):
        r = self.random
        form = r.randrange(16)
        if depth <= 0 or form < 4:
            return "{{" + self.pick("", "-") + " " + self.any(r.randrange(3)) + " " + self.pick("", "-") + "}}"
        if form == 4:
            test = self.tag(f"if {self.bool(1)}")
            return test + self.body(depth - 1, in_loop) + self.pick("", self.tag(f"elif {self.any(1)}") + self.body(depth - 1, in_loop)) + self.pick("", self.tag("else") + self.body(depth - 1, in_loop)) + self.tag("endif")
        if form in (5, 6):
            name = self.pick("i", "v", "w", "s")
            self.names.append(name)
            loop = self.tag(f"for {name} in {self.list(1)}" + self.pick("", "", f" if {self.bool(1)}", f" if {name}"))
            inside = self.pick("", "{{ loop.index }}", "{{ loop.last }}", "{{ loop.previtem }}", "{{ loop.nextitem }}", "{{ loop.length }}", "{{ loop.revindex0 }}", "{{ loop.cycle(1, 2) }}", "{{ loop.changed(" + name + ") }}")
            return loop + inside + self.body(depth - 1, True) + self.pick("", "", self.tag("else") + self.body(depth - 1, in_loop)) + self.tag("endfor")
        if form == 7:
            name = self.pick("i", "v", "w", "s", "nope")
            self.names.append(name)
            return self.tag(f"set {name} = {self.any(2)}")
        if form == 8:
            return self.tag(self.pick("set v", "set w | upper", "set s | trim")) + self.body(depth - 1, in_loop) + self.tag("endset")
        if form == 9:
            return self.tag("filter " + self.pick("upper", "trim", "replace('a', s)", "indent", "length")) + self.body(depth - 1, in_loop) + self.tag("endfilter")
        if form == 10:
            return self.tag(f"macro m({self.pick('', 'v', 'v, w=1', 'v=i', 'i, s=i')})") + self.body(depth - 1) + self.pick("", "{{ varargs }}", "{{ kwargs }}", "{{ caller() if caller }}") + self.tag("endmacro") + "{{ m(" + self.pick("", "1", "1, 2", "v=3", "s, w=2") + ") }}"
        if form == 11:
            return self.tag(f"with v = {self.any(1)}, w = i") + self.body(depth - 1, in_loop) + self.tag("endwith")
        if form == 12:
            return self.tag("generation") + self.body(depth - 1) + self.tag("endgeneration")
        if form == 13 and in_loop:
            return self.tag(f"if {self.bool(1)}") + self.tag(self.pick("break", "continue")) + self.tag("endif")
        if form == 14:
            return self.tag("set ns = namespace(c=0)") + self.tag(f"for k in {self.list(1)}") + self.tag("set ns.c = ns.c + 1") + self.tag("endfor") + "{{ ns.c }}"
        return self.pick("{# c #}", "{#- c -#}", "{#+ c #}", self.tag("raw") + "{{ x }}\n " + self.tag("endraw"))

    def template(self):
        self.names = []
        if self.random.random() < 0.6:
            return "{{ " + self.any(self.random.randrange(1, 4)) + " }}"
        return self.body(self.random.randrange(1, 4))
