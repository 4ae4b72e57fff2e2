//! Templates that ask for memory, recursion or time without end are refused, by name.

use gratis_model::chat_template::ChatTemplate;
use serde_json::{Map, Value, json};

/// The error of a template, or its text if there is none.
fn outcome(source: &str) -> Result<String, String> {
    let mut variables = Map::new();
    variables.insert("messages".to_owned(), json!([{"role": "user", "content": "2 + 2 = ?\n4"}]));
    ChatTemplate::new(source)
        .and_then(|template| template.render_variables(&variables, None))
        .map_err(|error| error.to_string())
}

#[test]
fn a_template_that_grows_without_end_is_refused_by_name() {
    let times = |n: usize, body: &str| {
        format!(
            "{{% set ns = namespace(x='ab', l=[1], d={{}}) %}}{{% for i in range({n}) %}}{body}{{% endfor %}}"
        )
    };
    let long = "{% set ns = namespace(x='abcdefgh' * 100000) %}";
    // Reading a text is weighed by its bytes, however soon it ends: the first letter is a capital, and
    // a letter takes four bytes.
    let capital = "{% set ns = namespace(x='Abcdefgh' * 100000) %}";
    let wide = "{% set ns = namespace(x='\u{1d465}\u{1d466}' * 100000) %}";
    let mut faults = Vec::new();
    for (source, expected) in [
        (times(60, "{% set ns.x = ns.x ~ ns.x %}"), "`~` makes a value of more than"),
        (times(60, "{% set ns.x = ns.x + ns.x %}"), "`+` makes a value of more than"),
        (times(60, "{% set ns.l = ns.l + ns.l %}"), "`+` makes a value of more than"),
        (times(60, "{% set ns.l = [ns.l, ns.l] %}"), "`[...]` makes a value of more than"),
        (
            times(60, "{% set ns.d = {'a': ns.d, 'b': ns.d} %}"),
            "`{...}` makes a value of more than",
        ),
        (times(60, "{% set ns.l = (ns.l, ns.l) %}"), "`[...]` makes a value of more than"),
        (times(60, "{% set ns.d = dict(a=ns.d, b=ns.d) %}"), "`call` makes a value of more than"),
        (
            times(60, "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}"),
            "`set` makes a value of more",
        ),
        (times(60, "{% set ns.x = ns.x | replace('', ns.x) %}"), "`replace` makes a value of more"),
        (times(60, "{% set ns.x = ns.x.replace('b', ns.x) %}"), "`replace` makes a value of more"),
        (times(60, "{% set ns.x = [ns.x, ns.x] | join(ns.x) %}"), "makes a value of more"),
        (times(60, "{% set ns.x = ns.x.join([ns.x, ns.x]) %}"), "`join` makes a value of more"),
        (
            times(60, "{% set ns.x = '%s%s' | format(ns.x, ns.x) %}"),
            "`format` makes a value of more",
        ),
        (times(60, "{% set ns.x = '{0}{0}'.format(ns.x) %}"), "`format` makes a value of more"),
        (times(60, "{% set ns.l = ns.l | chain(ns.l) %}"), "`chain` makes a value of more"),
        // Nested, or holding itself.
        (times(9999, "{% set ns.l = [ns.l] %}"), "nested deeper than 160"),
        (times(9999, "{% set ns.d = {'a': ns.d} %}"), "nested deeper than 160"),
        (times(2, "{% set ns.x = ns %}"), "puts a namespace or a loop into another value"),
        (times(2, "{% set ns.x = [ns] %}"), "puts a namespace or a loop into another value"),
        (times(2, "{% set ns.x = {'a': {'b': ns}} %}"), "puts a namespace or a loop into"),
        (times(2, "{% set ns.x = loop %}"), "puts a namespace or a loop into another value"),
        (times(2, "{{ dict(a=ns) }}"), "puts a namespace or a loop into another value"),
        (
            times(2, "{% set m = namespace(a=ns) %}{{ m }}"),
            "puts a namespace or a loop into another",
        ),
        // Numbers that memory is taken for.
        ("{{ 'x' | indent(10**11) }}".to_owned(), "`indent` of 100000000000: at most"),
        (
            "{{ 'x\nx' | indent(width=99999999999, first=true) }}".to_owned(),
            "`indent` of 99999999999",
        ),
        ("{{ ('x\n' * 9999) | indent(99999) }}".to_owned(), "`indent` makes a value of more"),
        ("{{ messages | tojson(indent=10**9) }}".to_owned(), "`tojson(indent)` of 1000000000"),
        ("{{ messages | tojson(10**12) }}".to_owned(), "`tojson(indent)` of 1000000000000"),
        (
            "{{ range(99999) | list | tojson(indent=99999) }}".to_owned(),
            "`tojson` makes a value of",
        ),
        ("{{ '%1000000000d' | format(1) }}".to_owned(), "`format` of 1000000000"),
        ("{{ '%.1000000000f' | format(1) }}".to_owned(), "`format` of 1000000000"),
        ("{{ '%*d' | format(1000000000, 1) }}".to_owned(), "computed width"),
        ("{{ '{:>1000000000}'.format(1) }}".to_owned(), "`format` of 1000000000"),
        ("{{ '{:{w}}'.format(1, w=1000000000) }}".to_owned(), "format"),
        ("{{ messages | batch(10**9, 'x') }}".to_owned(), "`batch` of 1000000000"),
        ("{{ messages | slice(10**10) }}".to_owned(), "`slice` of 10000000000"),
        ("{{ range(10**10) | list }}".to_owned(), "`range` of 10000000000"),
        ("{{ range(0, -9223372036854775807, -1) }}".to_owned(), "`range` of 9223372036854775807"),
        ("{{ messages[0].role * 10**9 }}".to_owned(), "`*` makes a value of more"),
        ("{{ 10**12 * messages }}".to_owned(), "`*` makes a value of more"),
        ("{{ 'x' * 100000000 }}".to_owned(), "constants that make more than 1048576 bytes"),
        ("{{ [0] * 10000 * 10000 }}".to_owned(), "constants that make more than 1048576 bytes"),
        ("{{ ('x' * 99999) ~ ('x' * 999999) }}".to_owned(), "constants that make more than"),
        // One value printed without end, captured or not.
        (
            format!("{long}{{% for i in range(9999) %}}{{{{ ns.x }}}}{{% endfor %}}"),
            "too much memory",
        ),
        (
            format!(
                "{long}{{% set y %}}{{% for i in range(9999) %}}{{{{ ns.x }}}}{{% endfor %}}{{% endset %}}"
            ),
            "too much memory",
        ),
        (
            format!("{long}{{% for i in range(9999) %}}{{% set y = ns.x | upper %}}{{% endfor %}}"),
            "too much memory",
        ),
        (
            format!("{{% for i in range(99999) %}}{}{{% endfor %}}", "x".repeat(20_000)),
            "too much memory",
        ),
        // Time.
        (
            format!(
                "{long}{{% for i in range(99999) %}}{{% for j in range(99999) %}}{{{{ '' if ns.x == ns.x }}}}{{% endfor %}}{{% endfor %}}"
            ),
            "too much work",
        ),
        (
            format!(
                "{capital}{{% for i in range(99999) %}}{{% for j in range(99999) %}}{{{{ '' if ns.x.find('A') }}}}{{% endfor %}}{{% endfor %}}"
            ),
            "too much work",
        ),
        (
            format!(
                "{wide}{{% for i in range(99999) %}}{{% for j in range(99999) %}}{{{{ ns.x[170000:170001] }}}}{{% endfor %}}{{% endfor %}}"
            ),
            "too much",
        ),
        (
            format!(
                "{capital}{{% for i in range(99999) %}}{{% for j in range(99999) %}}{{{{ '' if ns.x is lower }}}}{{% endfor %}}{{% endfor %}}"
            ),
            "too much",
        ),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
                .to_owned(),
            "fuel",
        ),
        // Recursion.
        ("{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}".to_owned(), "recursion"),
        (format!("{{{{ {} }}}}", "(".repeat(5000)), ""),
        (format!("{{{{ 1 {} }}}}", "+ x ".repeat(5000)), "a tag of more than 2000 tokens"),
        (format!("{{{{ x{} }}}}", ".a".repeat(5000)), "a tag of more than 2000 tokens"),
        (format!("{{{{ x{} }}}}", "|upper".repeat(5000)), "a tag of more than 2000 tokens"),
        (format!("{{{{ {} x }}}}", "not ".repeat(5000)), ""),
        (format!("{{{{ {} x }}}}", "- ".repeat(5000)), ""),
        ("{% if x %}".repeat(5000), ""),
        (
            format!("{{% if x %}}{}{{% endif %}}", "{% elif x %}".repeat(5000)),
            "more than 500 `elif`",
        ),
        ("{% macro m() %}".repeat(5000), ""),
        ("x".repeat(600_000), "the template has 600000 bytes"),
        // What a library function panics on.
        (
            "{% for i in [1] %}{{ loop.cycle() }}{% endfor %}".to_owned(),
            "`cycle` needs at least one",
        ),
        (
            "{% for i in [1] %}{{ loop.cycle(*[]) }}{% endfor %}".to_owned(),
            "puts a namespace or a loop",
        ),
        // Other templates.
        ("{% include 'chat_template' %}".to_owned(), "cannot `include`"),
        ("{% extends 'chat_template' %}".to_owned(), "cannot `include`"),
        ("{% import 'chat_template' as t %}".to_owned(), "cannot `include`"),
        ("{{ debug() }}".to_owned(), "debug is unknown"),
    ] {
        let shown: String = source.chars().take(120).collect();
        match outcome(&source) {
            Ok(text) => faults.push(format!("`{shown}` gives {} bytes", text.len())),
            Err(message) if message.contains(expected) && message.len() < 400 => {}
            Err(message) => faults.push(format!("`{shown}`: {message}")),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_is_measured_is_what_jinja_computes() {
    let mut faults = Vec::new();
    for (source, expected) in [
        ("{{ 3 * 4 }} {{ 2 * 1.5 }} {{ true * 3 }} {{ 'ab' * 2 }}", "12 3.0 3 abab"),
        ("{{ 2 * 'ab' }} {{ 'ab' * 0 }}| {{ 'ab' * -1 }}|", "abab | |"),
        ("{{ ([1, 2] * 2) | length }} {{ [1, 2] * 2 }}", "4 [1, 2, 1, 2]"),
        ("{{ ([1] + [2])[1] }} {{ ([1] + [2]) | length }} {{ [1] + [2] }}", "2 2 [1, 2]"),
        ("{{ (1, 2)[0] }} {{ (1, 2)[::-1] }}", "1 (2, 1)"),
        ("{{ [1, 2, 3][1:] }} {{ 'abc'[-2:] }} {{ [1, 2, 3][:9] }}", "[2, 3] bc [1, 2, 3]"),
        ("{{ ['a', 'b'] | join }} {{ ['a', 1] | join(', ') }} {{ [] | join('x') }}|", "ab a, 1 |"),
        (
            "{{ messages | join('/', attribute='role') }} {{ messages | join(d='-', attribute='role') }}",
            "user user",
        ),
        ("{{ messages | map(attribute='role') | list }}", "['user']"),
        (
            "{{ 'a\\nb' | indent }}|{{ 'a\\n\\nb' | indent(2, true, true) }}",
            "a\n    b|  a\n  \n  b",
        ),
        (
            "{{ range(3) | list }} {{ range(5, 1, -2) | list }} {{ range(3, 3) | list }}",
            "[0, 1, 2] [5, 3] []",
        ),
        ("{{ '%s %05.1f' | format('a', 2.25) }} {{ '{} {:>4}'.format('a', 7) }}", "a 002.2 a    7"),
        ("{{ 'aXbX' | replace('X', '-') }} {{ 'aXbX'.replace('X', '-', 1) }}", "a-b- a-bX"),
        ("{{ [1, 2, 3] | batch(2, 0) | list }}", "[[1, 2], [3, 0]]"),
        (
            "{% set ns = namespace(n=0) %}{% for i in [1, 2] %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
            "3",
        ),
        (
            "{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m(*[3, 4]) }} {{ m(a=5) }}",
            "1-2 3-4 5-2",
        ),
        (
            "{% for i in [1, 2, 3] recursive %}{{ i }}{% if i == 2 %}{{ loop([7]) }}{% endif %}{% endfor %}",
            "1273",
        ),
        (
            "{% for i in [1, 2, 3] %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{{ '' if loop.last else ',' }}{% endfor %}",
            "1,3",
        ),
        (
            "{% set x %}a{{ 1 }}{% endset %}{{ x | upper }}{% filter lower %}ABC{% endfilter %}",
            "A1abc",
        ),
        (
            "{{ 1 < 2 < 3 }} {{ 'a' in 'abc' }} {{ 1 not in [2] }} {{ none is none }} {{ 2 is divisibleby 2 }}",
            "True True True True True",
        ),
        ("{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{% block t %}T{% endblock %}", "3T"),
        (
            "{{ undefined_name }}|{{ undefined_name is defined }}|{{ undefined_name | default('d') }}",
            "|False|d",
        ),
        ("{{ dict(a=1).items() | list }} {{ {'a': 1} | items | list }}", "[('a', 1)] [('a', 1)]"),
        (
            "{{ messages | length }} {{ messages[0]['content'].split('\\n') }}",
            "1 ['2 + 2 = ?', '4']",
        ),
        ("{{ (1 + 2) ~ 'x' }} {{ 'abc' | list | first }} {{ 'a,b'.split(',') | last }}", "3x a b"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "1"),
    ] {
        // What Jinja2 3.1 prints, but for `True` and the spelling of tuples, which are minijinja's.
        let expected = expected.replace("True", "true").replace("False", "false");
        let text = outcome(source).unwrap_or_else(|error| error);
        let text = text.replace("True", "true").replace("False", "false").replace('"', "'");
        if text != expected {
            faults.push(format!("`{source}`: `{text}`, not `{expected}`"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A conversation of the length of a long context fits the limits.
#[test]
fn long_conversations_are_rendered() {
    let content = "a word and another one ".repeat(40);
    let messages: Vec<Value> = (0..2000)
        .map(|idx| {
            let role = if idx % 2 == 0 { "user" } else { "assistant" };
            json!({"role": role, "content": content})
        })
        .collect();
    let source = "{% set ns = namespace(n=0, all=[]) %}{% for m in messages %}\
                  {% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('no') }}{% endif %}\
                  {% set ns.n = ns.n + m.content | trim | length %}\
                  {{ '<' ~ m.role ~ '>' + m.content.strip() }}{% if loop.last and messages | length > 1 %}.{% endif %}\
                  {% if '</think>' in m.content %}{{ m.content.split('</think>')[-1] }}{% endif %}\
                  {% endfor %}{{ ns.n }}";
    let mut variables = Map::new();
    variables.insert("messages".to_owned(), Value::from(messages));
    let template = ChatTemplate::new(source).expect("valid");
    let text = template.render_variables(&variables, None).expect("rendered");
    // The last space of each message is stripped: 919 bytes, and both roles in brackets.
    assert_eq!(text.len(), 2_000 * 919 + 1_000 * (6 + 11) + 1 + 7);
}
