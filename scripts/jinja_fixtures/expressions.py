"""Snippets of templates, each about one rule of the language."""

VARIABLES = {
    "n": 7, "m": -3, "f": 2.5, "big": 12345678901234567890, "t": True, "z": None, "e": "",
    "s": "Hello World", "u": "Grüße, Straße ß ΑΣ ǆ 你好 😀", "sp": " \t\u00a0x y\u2003\n",
    "q": "it's \"quoted\" \\ back\n", "l": [3, 1, 2], "ls": ["b", "A", "c"], "ll": [[1, 2], [3, 4]],
    "d": {"b": 1, "a": [1, {"k": "v"}], "items": "own", "_x": 5}, "ed": {}, "el": [],
    "people": [{"name": "Zoe", "age": 30, "tag": "x"}, {"name": "adam", "age": 25, "tag": "y"},
               {"name": "Bob", "age": 30}],
    "html": "<b class='x'>a & b</b>", "lines": "one\ntwo\r\nthree\n\nfive",
}

EXPRESSIONS = r"""
1 + 2 * 3
(1 + 2) * 3
7 // 2
-7 // 2
7 % -3
-7 % 3
7 / 2
6 / 2
2 ** 10
2 ** -1
2 ** 3 ** 2
-2 ** 2
- 2 | abs
10 ** 30
2 ** 200 // 3
(-2) ** 3
0 ** 0
1e3
1.5e-7
1e16
1e15
123456789.123456789
0.1 + 0.2
1_000 + 0x1F + 0b11 + 0o17
1 / 3
1e308 * 10
-0.0
1 // 0
1 % 0
1 / 0
5.5 // 2
-5.5 // 2
5.5 % -2
n / 0.0
true + true
true * 3
n + f
n + s
s + n
s * 2
3 * ls
ls * 0
s * -1
l + ll
l + (1,)
(1, 2) + (3,)
n + none
none + 1
undefined_name + 1
undefined_name
undefined_name.x
undefined_name['x']
undefined_name is defined
undefined_name == undefined_name
undefined_name == none
undefined_name or 'fallback'
not undefined_name
undefined_name ~ 'x'
undefined_name | default('d')
'' | default('d')
'' | default('d', true)
none | default('d')
none | d('d', boolean=true)
d.missing | default('m')
d.missing.deeper
d.missing
d['missing'] is undefined
d.b
d['b']
d.items
d['items']
d._x
d.__class__
d['__class__']
s.__class__ | string
d.get('b')
d.get('nope')
d.get('nope', 3)
d.items() | list
d.keys() | list
d.values() | list
d.keys()
d.values()
d.items()
d.copy()
d.pop('b')
d.update({'x': 1})
l.append(4)
l.append
l.index(1)
l.index(9)
l.count(3)
l[0]
l[-1]
l[9]
l['x']
l[1.0]
l[true]
l.0
l[0:2]
l[::-1]
l[-2:]
l[:-1]
l[::2]
l[5:]
l[1:0]
l[::0]
s[0]
s[-1]
s[2:5]
s[::-1]
u[::-1]
u[3]
u[-1]
u[1:4]
u[::2]
u | length
s | length
(1, 2, 3)[1:]
range(10)[2:5]
range(10)[::3] | list
range(3)
range(1, 10, 3) | list
range(5, 0, -2) | list
range(200000)
range(1.5)
range(0, 5, 0)
range(3) | length
range(3)[5]
2 in range(5)
1 < 2 < 3
1 < 3 < 2
1 == 1.0
1 == true
'a' < 'b'
'a' < 1
[1, 2] < [1, 3]
[1] == [1.0]
(1,) == [1]
none == none
none < 1
1 != 2
'a' in 'abc'
'' in 'abc'
1 in 'abc'
1 in [1, 2]
'1' in [1, 2]
'b' in d
'q' not in d
not 'b' in d
1 in 5
n in l
1 in (1, 2) == true
1 is number
1.5 is number
true is number
true is integer
1 is integer
1.5 is float
'a' is string
s is string and n is number
d is mapping
l is mapping
l is sequence
s is sequence
d is sequence
d is iterable
5 is iterable
5 is sequence
undefined_name is iterable
undefined_name is sequence
undefined_name is callable
range is callable
d.keys() is sequence
d.keys() is iterable
4 is even
4 is odd
4 is divisibleby 2
4 is divisibleby(3)
none is none
n is none
n is not none
true is true
true is boolean
1 is true
0 is false
'abc' is lower
'ABC' is upper
'123' is lower
1 is eq 1
1 is equalto 1
1 is ne 2
1 is lt 2
1 is ge(1)
2 is gt 1
1 is in [1, 2]
'a' is in 'abc'
n is sameas none
z is sameas none
true is sameas true
'upper' is filter
'nope' is filter
'even' is test
'nope' is test
s | safe is escaped
s is escaped
1 if true
1 if false
(1 if false) is defined
1 if false else 2
1 if n > 3 else 2 if n > 1 else 3
t and 5
z and 5
0 or 'x'
'' or none or 7
not t
not not n
t and not z or n
n > 3 and 'yes' or 'no'
'a' ~ 1 ~ none ~ true ~ [1, 'x'] ~ {'a': none} ~ 1.5
1 ~ 2 + 3 ~ 4
1 + 2 ~ 3
'x' 'y' "z"
'a\nb\t\x41\u00e9\101\q\\'
'\é'
"it's"
'say "hi"'
['it\'s', "a\"b", 'a\'b"c', 'tab\t', 'nl\n', '\x00', '\x7f', 'é', '\u200b', '\U0001f600']
{'a': 1, 'a': 2}
{1: 'x', 1.0: 'y', true: 'z'}
{(1, 2): 3}
{[1]: 2}
{'a': {'b': [1, (2,), ()]}}
[1, 'a', none, true, 1.5, [], {}, ()]
(1,)
()
(1)
1, 2
[1, 2,]
{'a': 1,}
dict(a=1, b=2)
dict({'x': 1}, y=2)
dict([['a', 1]])
dict(a=1).a
namespace(a=1).a
namespace(a=1)
namespace(_a=1)
namespace(a=1).b is defined
s.upper()
s.lower()
s.title()
s.swapcase()
"they're bill's".title()
u.upper()
u.lower()
u.title()
u.capitalize()
'ΟΔΟΣ Σ ΑΣ'.lower()
'ﬁne'.upper()
'ﬁne'.capitalize()
'ǆ'.title()
'İ'.lower()
sp.strip()
sp.strip() | length
sp.lstrip()
sp.rstrip()
'xxhixx'.strip('x')
'abcHIcba'.strip('abc')
'abcHIcba'.lstrip('abc')
s.strip(none)
s.split()
s.split('o')
s.split('o', 1)
s.rsplit('o', 1)
s.split(maxsplit=1)
' a  b c '.split()
' a  b c '.split(none, 1)
' a  b c '.rsplit(none, 1)
' a  b c '.split(' ')
''.split()
''.split(',')
'a,b,,c'.split(',')
s.split('')
lines.splitlines()
lines.splitlines(true)
'a\x0bb\x1cc\x85d\u2028e'.splitlines()
s.replace('o', '0')
s.replace('o', '0', 1)
'abc'.replace('', '-')
'abc'.replace('', '-', 2)
''.replace('', 'x')
s.startswith('Hell')
s.startswith(('x', 'H'))
s.startswith('World', 6)
s.endswith('ld')
s.endswith('lo', 0, 5)
s.startswith(1)
s.find('o')
s.find('zzz')
s.rfind('o')
s.find('o', 5)
s.index('W')
s.index('zzz')
u.find('你')
s.count('l')
s.count('')
s.count('l', 3)
','.join(ls)
','.join(l)
', '.join(['a'])
'-'.join('abc')
s.partition(' ')
s.partition('x')
s.rpartition('o')
s.removeprefix('Hello ')
s.removesuffix('World')
s.removeprefix('x')
'42'.zfill(5)
'-42'.zfill(5)
'ab'.center(7)
'ab'.center(6, '*')
'abc'.center(6, '*')
'ab'.ljust(5) ~ '|'
'ab'.rjust(5, '.')
'a\tb'.expandtabs(4)
'123'.isdigit()
'12.3'.isdigit()
'²'.isdigit()
'²'.isdecimal()
'½'.isnumeric()
'abc'.isalpha()
'abc1'.isalnum()
'你好'.isalpha()
''.isalpha()
' \t'.isspace()
''.isspace()
'\x1c'.isspace()
'Abc'.istitle()
'ABC'.isupper()
'aBC'.islower()
'abc'.isidentifier()
'abc'.isascii()
s.nope
s.nope()
'{} {}'.format(1, 'a')
'{0} {1} {0}'.format(1, 'a')
'{a} {b!r}'.format(a=1, b='x')
'{:>5}|{:<5}|{:^5}|{:*^7}'.format('a', 'b', 'c', 'd')
'{:05d} {:+d} {:x} {:#x} {:b} {:,}'.format(42, 42, 255, 255, 5, 1234567)
'{:.2f} {:8.3f} {:e} {:g} {:%}'.format(3.14159, 2.5, 12345.678, 0.0001, 0.25)
'{:,.2f}'.format(1234567.891)
'{d[b]} {p[0][name]}'.format(d=d, p=people)
'{{}}'.format()
'{'.format()
'{}'.format()
'{x}'.format(y=1)
'{:d}'.format('a')
'{:s}'.format(1)
'{:{w}}'.format('a', w=4) ~ '|'
'%s and %s' % (1, 'a')
'%d %i %5d %-5d| %05d %+d' % (1, 2, 3, 4, 5, 6)
'%.2f %e %g %10.3f' % (3.14159, 12345.678, 0.00001, 2.5)
'%x %X %o %#x %c %%' % (255, 255, 8, 255, 65)
'%r' % 'a'
'%s' % none
'%s' % l
'%s %s' % l
'%s' % (l,)
'%(a)s-%(b)d' % {'a': 1, 'b': 2}
'%d' % 3.99
'%d' % 'a'
'%s' % ()
'%s %s' % (1,)
'%s' % (1, 2)
'%5s|%-5s|%.2s' % ('a', 'b', 'abc')
'%*d' % (5, 3)
'%q' % 1
'abc' % ()
'abc' % 1
'abc' % d
-5 | abs
'a' | abs
s | upper
s | lower
n | upper
'foo bar' | capitalize
"foo-bar (baz) [x] it's" | title
u | title
'  x ' | trim
'xxaxx' | trim('x')
s | replace('o', '0')
s | replace('o', '0', 1)
n | replace(7, 8)
s | reverse
l | reverse | list
l | list
s | list
d | list
5 | list
l | first
el | first
el | first is undefined
l | last
d | last
s | first
s | last
el | last
l | join
l | join(', ')
l | join(d=';')
people | join(', ', attribute='name')
s | join('-')
l | sort
l | sort(reverse=true)
ls | sort
ls | sort(case_sensitive=true)
people | sort(attribute='name') | map(attribute='name') | list
people | sort(attribute='age,name') | map(attribute='name') | list
people | sort(attribute='tag')
[1, 'a'] | sort
d | dictsort
{'b': 2, 'A': 1, 'c': 0} | dictsort
{'b': 2, 'A': 1, 'c': 0} | dictsort(true)
{'b': 2, 'A': 1, 'c': 0} | dictsort(by='value')
{'b': 2, 'A': 1, 'c': 0} | dictsort(false, 'value', true)
l | dictsort
people | map(attribute='name') | join(',')
people | map(attribute='tag') | list
people | map(attribute='tag', default='none') | list
people | map('length') | list
ls | map('upper') | join
l | map('string') | list
['1', 'x'] | map('int', 5) | list
el | map('nope') | list
l | map('nope') | list
l | map
l | select('odd') | list
l | select | list
[0, 1, '', 'a', none] | select | list
[0, 1, '', 'a', none] | reject | list
l | select('greaterthan', 1) | list
l | reject('in', [1, 2]) | list
people | selectattr('age', 'equalto', 30) | map(attribute='name') | list
people | selectattr('tag') | map(attribute='name') | list
people | selectattr('tag', 'defined') | list | length
people | rejectattr('tag', 'defined') | map(attribute='name') | first
people | selectattr('name', 'in', ['Bob']) | list | tojson
people | groupby('age') | list
people | groupby('tag', default='?') | map(attribute='grouper') | list
people | groupby('tag', default='?') | map('first') | list
(people | groupby('age'))[0].list | length
l | sum
people | sum(attribute='age')
l | sum(start=10)
ll | sum(start=[])
ls | sum
l | min
l | max
ls | min
ls | max(case_sensitive=true)
el | max
people | max(attribute='age')
[1, 1.0, true, 2, 2] | unique | list
['a', 'A', 'b'] | unique | list
['a', 'A', 'b'] | unique(case_sensitive=true) | list
people | unique(attribute='age') | map(attribute='name') | list
[[1], [1]] | unique | list
range(7) | batch(3) | list
range(7) | batch(3, 'x') | list
range(7) | slice(3) | list
range(7) | slice(3, 'x') | list
2.5 | round
3.5 | round
2.675 | round(2)
42.55 | round(1, 'floor')
42.55 | round(1, 'ceil')
42 | round
1234 | round(-2)
1250 | round(-2)
1.5 | round(method='nope')
'42' | int
'42.7' | int
' 42 ' | int
'4_2' | int
'x' | int
'x' | int(5)
'0x1f' | int(base=16)
'0x1f' | int(0, 16)
'ff' | int(base=16)
3.99 | int
-3.99 | int
none | int
l | int
true | int
'1e3' | int
'inf' | int
'1.5' | float
'x' | float
'x' | float(1)
'nan' | float
'-inf' | float
1e300 | int
n | float
n | string
l | string
1.0 | string
s | wordcount
"it's a test_x" | wordcount
u | wordcount
s | center(21) ~ '|'
lines | indent
lines | indent(2)
lines | indent(2, true)
lines | indent('> ', first=true, blank=true)
lines | indent(width=2, blank=true)
n | indent
'foo bar baz qux' | truncate(9)
'foo bar baz qux' | truncate(9, true)
'foo bar baz qux' | truncate(11)
'foo bar baz qux' | truncate(11, false, '...', 0)
'foo bar baz qux' | truncate(2)
'%s-%s' | format(1, 'x')
'%(a)s' | format(a=1)
html | e
html | escape | upper
html | safe
html | e ~ '<'
(html | e) + '<'
'<' + ('>' | safe)
'<b>a  <!-- c --> b</b>' | striptags
html | forceescape
[html | e]
{'a': '<', 'b': none, 'c': 1} | xmlattr
{'a b': 1} | xmlattr
'a b/c?d=é&' | urlencode
{'a b': 'c/d', 'e': 1} | urlencode
d | items | list
undefined_name | items | list
5 | items | list
d | length
5 | length
d | count
l | attr('count') is callable
d | attr('b')
d | attr('nope') is undefined
d | tojson
u | tojson
u | tojson(ensure_ascii=true)
q | tojson
html | tojson
'\x00\x1f\x7f\u2028' | tojson
'\x00\x1f\x7f\u2028😀' | tojson(true)
d | tojson(indent=2)
d | tojson(indent=0)
d | tojson(indent='--')
d | tojson(separators=(',', ':'))
d | tojson(sort_keys=true)
{'b': 1, 'a': {'d': 1, 'c': 2}} | tojson(indent=4, sort_keys=true, separators=(', ', '= '))
[] | tojson(indent=2)
[[], {}, [1]] | tojson(indent=2)
{1: 2, 1.5: 3, true: 4, none: 5} | tojson
{(1, 2): 3} | tojson
(1, 2) | tojson
1e16 | tojson
1.0 | tojson
'nan' | float | tojson
'inf' | float | tojson
true | tojson
none | tojson
big | tojson
undefined_name | tojson
range(3) | tojson
d.items() | tojson
d.items() | list | tojson
(html | e) | tojson
big / 2
big / 3
1 / big
big / -7
(big * big) / big
10 ** 400 / 10 ** 399
10 ** 400 / 3
0 / big
'{:05}|{:05}|{:<05}'.format('a', -1, 2)
big + 1
big * big
big // 7
big % 1000
-big
big | string | length
big > 5
big == 12345678901234567890
9223372036854775807 + 1
-9223372036854775808 - 1
9223372036854775807 * 2
strftime_now('%Y-%m-%d')
strftime_now('%d %b %Y, %A %H:%M:%S %j %p %I')
strftime_now('%B %-d')
strftime_now('%%')
raise_exception('no')
lipsum is defined
cycler('a', 'b').next()
joiner()()
s | nope
s is nope
1 +
(1
[1, 2
{'a' 1}
1 2
a.b.
a..b
)
'unterminated
1 | upper | lower | length
l | map('upper') is iterable
l | map('upper') is sequence
l | map('upper') | first
none.x
none['x']
none is defined
5.x
5 .x
true.x is defined
loop
loop is defined
self_name
n if n else z
[n, m, f]
n is divisibleby 7 and m is odd
s is lower or s is upper
not s is lower
s.split(' ')[0].lower()
(s | upper).lower()
s | upper.lower()
d['a'][1]['k']
d.a[1].k
d.a.1.k
d.a | length
people[0].name[0]
people[-1]['name']
people | length > 2
messages is defined and messages
'a' if 'a' in 'abc' and 'z' not in 'abc' else 'b'
(n | string) ~ '%'
{'x': n}.x
{'x': n}['x']
[[1, 2], [3]][0][1]
('a', 'b')[1]
'abc'[1]
'abc'['x']
1 == 1 == 1
3 > 2 >= 2 != 5
-n
+n
-s
- - n
not n == 7
2 * 'ab' ~ 'c'
f // 1
f | int
1e22
1e21 + 1
5e-324
1.7976931348623157e308
100000000000000000000.0
0.0001
0.00001
123456789012345680.0
none | string
[none] | join(',')
undefined_name | upper
undefined_name | length
undefined_name | first
undefined_name | list
undefined_name | join
undefined_name | int
undefined_name | sum
undefined_name | sort
undefined_name | reverse | list
undefined_name | abs
undefined_name | round
undefined_name | trim
undefined_name | replace('a', 'b')
[undefined_name]
undefined_name()
undefined_name < 1
undefined_name in [1]
undefined_name in 'abc'
'a' in undefined_name
s(1)
n()
""".strip("\n").split("\n")
