//! The inputs of the bench: what a hostile file is made of, and the widest that are taken.

use Verdict::{Refused, Taken};

/// The size that the bounds speak of.
const BYTES: usize = 1 << 20;

/// Whether an input is a project.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Taken,
    Refused,
}

/// One input.
pub(crate) struct Input {
    pub(crate) name: &'static str,
    pub(crate) verdict: Verdict,
    pub(crate) make: fn() -> Vec<u8>,
}

/// Makes an input.
type Make = fn() -> Vec<u8>;

/// Every input: first those that are hardly YAML, then those that are, then those that are Compose.
#[allow(clippy::too_many_lines, reason = "it is one table")]
pub(crate) fn all() -> Vec<Input> {
    let table: &[(&'static str, Verdict, Make)] = &[
        ("open lists", Refused, || fill("", "[")),
        ("open mappings", Refused, || fill("", "{")),
        ("open keys", Refused, || fill("", "{a: ")),
        ("question marks", Refused, || fill("", "? ")),
        ("dashes", Refused, || fill("", "- ")),
        ("colons", Refused, || fill("", ":")),
        ("block scalars", Refused, || fill("", "|")),
        ("anchors", Refused, || fill("", "&")),
        ("stars", Refused, || fill("", "*")),
        ("tags", Refused, || fill("", "!")),
        ("open string", Refused, || fill("", "'' ")),
        ("zeros", Refused, || vec![0; BYTES]),
        ("not UTF-8", Refused, || [fill(GOOD, "#\n"), vec![0xff]].concat()),
        ("UTF-16", Refused, || [vec![0xff, 0xfe], fill("", "a")].concat()),
        ("spaces", Refused, || fill("", " ")),
        ("line feeds", Refused, || fill("", "\n")),
        ("deeper and deeper", Refused, deeper),
        ("same key", Refused, || fill("", "a: b\n")),
        ("documents", Refused, || fill("", "---\n")),
        ("alias bomb", Refused, alias_bomb),
        ("aliases of a list", Refused, aliases_of_a_list),
        ("merge-key chain", Refused, merge_chain),
        ("merge-key list", Refused, merge_list),
        ("100k keys", Refused, || each("", 100_001, |it| format!("k{it}: v\n"))),
        ("unknown keys", Refused, || {
            each("services:\n a:\n  image: i\n", 29_900, |it| format!("  k{it}: v\n"))
        }),
        ("near keys", Refused, || {
            each("services:\n a:\n", 29_900, |it| format!("  imag{it}: v\n"))
        }),
        ("bad ports", Refused, || {
            each("services: {a: {image: i, ports: [", 29_900, |it| format!("p{it},")).closed("]}}")
        }),
        ("port ranges", Refused, || {
            each("services: {a: {image: i, ports: [", 29_900, |it| {
                format!("\"1-65535:{it}-65535\",")
            })
            .closed("]}}")
        }),
        ("one port range", Refused, || {
            b"services: {a: {image: i, ports: ['1-65535:1-65535', '1-65535:1-65535']}}".to_vec()
        }),
        ("open braces", Refused, || command("${A:-")),
        ("nested defaults", Refused, || nested_defaults(5)),
        ("extends chain", Refused, || services(1_999, |it| format!("{{extends: s{}}}", it + 1))),
        ("dependency chain", Refused, || {
            services(1_999, |it| format!("{{image: i, depends_on: [s{}]}}", it + 1))
        }),
        ("bad environment", Refused, || {
            each("services: {a: {image: i, environment: [", 29_900, |it| format!("\"K{it} =v\","))
                .closed("]}}")
        }),
        ("too many words", Refused, || command("a 'b' ")),
        ("too many services", Refused, || services(40_000, |_| "{image: i}".into())),
        ("comments", Taken, || fill(GOOD, "# a comment\n")),
        ("long scalar", Taken, || command("x")),
        ("long block scalar", Taken, || fill(&format!("{GOOD}x-text: |\n"), "      x\n")),
        ("long key", Taken, || {
            fill(&format!("{GOOD}    labels:\n      ? "), "k").closed("\n      : v\n")
        }),
        ("many variables", Taken, || command("$A")),
        ("many defaults", Taken, || command("${A:-b}")),
        ("deep extension", Taken, || {
            format!("{GOOD}x-deep: {}{}", "[".repeat(190), "]".repeat(190)).into_bytes()
        }),
        ("wide extension", Taken, || {
            each(&format!("{GOOD}x-wide:\n"), 29_900, |it| format!("  k{it}: v\n"))
        }),
        ("mappings", Taken, || {
            each(&format!("{GOOD}x-maps:\n"), 14_900, |it| format!("  - {{k{it}: v}}\n"))
        }),
        ("lists", Taken, || {
            each(&format!("{GOOD}x-lists:\n"), 14_900, |it| format!("  - [v{it}]\n"))
        }),
        ("labels", Taken, || {
            each("services:\n a:\n  image: i\n  labels:\n", 29_900, |it| {
                format!("   k{it}: v{it}\n")
            })
        }),
        ("label list", Taken, || {
            each("services:\n a:\n  image: i\n  labels:\n", 29_900, |it| {
                format!("   - k{it}=v{it}\n")
            })
        }),
        ("environment", Taken, || {
            each("services:\n a:\n  image: i\n  environment:\n", 29_900, |it| {
                format!("   - K{it}=v{it}\n")
            })
        }),
        ("bare environment", Taken, || {
            each("services:\n a:\n  image: i\n  environment:\n", 29_900, |it| {
                format!("   - K{it}\n")
            })
        }),
        ("command words", Taken, || {
            each("services:\n a:\n  image: i\n  command:\n", 29_900, |it| format!("   - w{it}\n"))
        }),
        ("command line", Taken, || {
            command(
                "a-much-longer-word-that-stands-for-a-path 'several quoted words that are one' ",
            )
        }),
        ("sysctls", Taken, || {
            each("services:\n a:\n  image: i\n  sysctls:\n", 29_900, |it| {
                format!("   net.core.k{it}: {it}\n")
            })
        }),
        ("extra hosts", Taken, || {
            each("services:\n a:\n  image: i\n  extra_hosts:\n", 29_900, |it| {
                format!("   - h{it}=10.0.0.1\n")
            })
        }),
        ("expose", Taken, || {
            each("services:\n a:\n  image: i\n  expose:\n", 29_900, |it| {
                format!("   - {}\n", it % 65_535 + 1)
            })
        }),
        ("ports", Taken, || {
            each("services:\n a:\n  image: i\n  ports:\n", 4_000, |it| {
                format!("   - \"{}:80\"\n", it + 1)
            })
        }),
        ("mounts", Taken, || {
            each("services:\n a:\n  image: i\n  volumes:\n", 7_999, |it| {
                format!("   - ./host{it}:/in/the/container{it}:ro\n")
            })
        }),
        ("volumes", Taken, || volumes(3_900)),
        ("networks", Taken, || networks(3_900)),
        ("bare services", Taken, || services(1_999, |_| "{image: i}".into())),
        ("services that depend", Taken, || services(1_999, depends_on_two)),
        ("full services", Taken, || {
            services(450, full_service).closed("volumes: {data: }\nnetworks: {front: , back: }\n")
        }),
        ("services by <<", Taken, services_by_merge_key),
        ("services by extends", Taken, || services_extending(690)),
        ("services by alias", Taken, services_by_alias),
        ("services with x-", Taken, || {
            services(1_999, |it| format!("{{image: i, x-a: {{b: [c, {{d: e}}]}}, x-b{it}: [f]}}"))
        }),
        ("environments", Taken, || {
            let some: String = (0..40).map(|it| format!("K{it}: v{it}, ")).collect();
            services(690, |_| format!("{{image: i, environment: {{{some}}}}}"))
        }),
        ("healthchecks", Taken, || {
            services(1_999, |_| {
                "{image: i, healthcheck: {test: [CMD, a], interval: 1m30s, retries: 3}, profiles: []}"
                    .into()
            })
        }),
        ("constraints", Taken, || {
            let some = "node.labels.a == b, ".repeat(20);
            services(1_150, |_| {
                format!("{{image: i, deploy: {{placement: {{constraints: [{some}]}}}}}}")
            })
        }),
        ("builds", Taken, || {
            services(1_999, |_| {
                "{build: {context: ., args: [A=b], labels: {c: d}, tags: [e]}}".into()
            })
        }),
        ("devices", Taken, || {
            each("services:\n a:\n  image: i\n  devices:\n", 7_999, |it| {
                format!("   - /dev/a{it}:/dev/b{it}:rwm\n")
            })
        }),
        ("ulimits", Taken, || {
            services(1_999, |_| {
                "{image: i, ulimits: {core: 1, cpu: 2, nofile: {soft: 1, hard: 2}}}".into()
            })
        }),
        ("secrets", Taken, || granted("secrets", "environment: A")),
        ("configs", Taken, || granted("configs", "content: \"${A:-some content}\"")),
    ];
    table.iter().map(|&(name, verdict, make)| Input { name, verdict, make }).collect()
}

/// The least that is a project.
const GOOD: &str = "services:\n  a:\n    image: i\n";

/// The head, then the part as often as fits.
fn fill(head: &str, part: &str) -> Vec<u8> {
    let times = (BYTES - head.len()) / part.len();
    [head.as_bytes(), part.repeat(times).as_bytes()].concat()
}

/// The head, then so many parts, or as many as fit.
fn each(head: &str, times: usize, part: impl Fn(usize) -> String) -> Vec<u8> {
    let mut text = head.to_owned();
    for it in 0..times {
        let part = part(it);
        if text.len() + part.len() > BYTES - 8 {
            break;
        }
        text.push_str(&part);
    }
    text.into_bytes()
}

trait Closed {
    fn closed(self, end: &str) -> Self;
}

impl Closed for Vec<u8> {
    fn closed(mut self, end: &str) -> Self {
        self.extend_from_slice(end.as_bytes());
        self
    }
}

fn services(times: usize, service: impl Fn(usize) -> String) -> Vec<u8> {
    each("services:\n", times, |it| format!(" s{it}: {}\n", service(it)))
}

fn command(part: &str) -> Vec<u8> {
    fill("services: {a: {image: i, command: \"", part).closed("\"}}")
}

fn nested_defaults(depth: usize) -> Vec<u8> {
    command(&format!("{}b{}", "${A:-".repeat(depth), "}".repeat(depth - 1)))
}

/// Each line is one level further in.
fn deeper() -> Vec<u8> {
    let levels = (1..).take_while(|it| it * it / 2 < BYTES).count();
    each("", levels, |it| format!("{}a:\n", " ".repeat(it)))
}

fn alias_bomb() -> Vec<u8> {
    let list = |it: &str| [it; 9].join(",");
    let head = format!("a0: &a0 [{}]\n", list("x"));
    each(&head, 30_000, |it| format!("a{}: &a{} [{}]\n", it + 1, it + 1, list(&format!("*a{it}"))))
}

fn aliases_of_a_list() -> Vec<u8> {
    let head = format!("{GOOD}x-a: &a [{}]\nx-b:\n", ["x"; 1_000].join(","));
    each(&head, 98_000, |_| "  - *a\n".into())
}

fn merge_chain() -> Vec<u8> {
    let head = format!("{GOOD}x-0: &m0 {{k: v}}\n");
    each(&head, 20_000, |it| format!("x-{}: &m{} {{<<: *m{it}, k{it}: v}}\n", it + 1, it + 1))
}

fn merge_list() -> Vec<u8> {
    let map: String = (0..1_000).map(|it| format!("k{it}: v,")).collect();
    let head = format!("{GOOD}x-a: &a {{{map}}}\nx-b: {{<<: [");
    each(&head, 90_000, |_| "*a,".into()).closed("]}\n")
}

fn volumes(times: usize) -> Vec<u8> {
    let head = "services:\n a:\n  image: i\n  volumes:\n";
    let mut text = each(head, times, |it| format!("   - v{it}:/in/the/container{it}\n"));
    text.extend(each("volumes:\n", times, |it| format!(" v{it}: {{labels: {{a: b}}}}\n")));
    text
}

fn networks(times: usize) -> Vec<u8> {
    let head = "services:\n a:\n  image: i\n  networks:\n";
    let mut text = each(head, times, |it| format!("   - n{it}\n"));
    text.extend(each("networks:\n", times, |it| format!(" n{it}: {{internal: true}}\n")));
    text
}

fn depends_on_two(index: usize) -> String {
    match index {
        0 | 1 => "{image: i}".into(),
        _ => format!("{{image: i, depends_on: [s{}, s{}]}}", index - 1, index - 2),
    }
}

/// A service with most of what one can have.
fn full_service(index: usize) -> String {
    let image = format!("registry.example/team/app{index}:1.2.3");
    let port = index + 1_000;
    format!(
        "
  image: {image}
  command: [serve, --port, \"${{PORT:-80}}\", --verbose]
  environment: {{LEVEL: info, NAME: app{index}, EMPTY: \"\", URL: \"http://${{HOST:-h}}/\"}}
  labels: [team=a, \"tier=b\"]
  ports: [\"127.0.0.1:{port}:80\", \"{}:443/udp\"]
  volumes: [\"data:/data\", \"./conf:/etc/conf:ro\", {{type: tmpfs, target: /tmp}}]
  networks: {{front: {{aliases: [app{index}]}}, back: }}
  depends_on: {{s0: {{condition: service_started}}}}
  healthcheck: {{test: [CMD, \"true\"], interval: 10s, timeout: 3s, retries: 3, start_period: 1m}}
  deploy: {{replicas: 2, resources: {{limits: {{cpus: \"0.5\", memory: 64m}}}}}}
  ulimits: {{nofile: {{soft: 1024, hard: 2048}}}}
  cap_drop: [ALL]
  logging: {{driver: json-file, options: {{max-size: 10m}}}}
  restart: unless-stopped
  user: \"1000:1000\"
  stop_grace_period: 20s",
        port + 10_000,
    )
    .replace("depends_on: {s0:", if index == 0 { "x-depends_on: {s0:" } else { "depends_on: {s0:" })
}

fn services_by_merge_key() -> Vec<u8> {
    let map: String = (0..50).map(|it| format!("K{it}: v,")).collect();
    let head = format!("x-a: &a {{image: i, environment: {{{map}}}}}\nservices:\n");
    each(&head, 510, |it| format!(" s{it}: {{<<: *a, hostname: h{it}}}\n"))
}

fn services_by_alias() -> Vec<u8> {
    let head = format!("x-a: &a [{}]\nservices:\n", ["w"; 90].join(","));
    each(&head, 600, |it| format!(" s{it}: {{image: i, command: *a}}\n"))
}

/// A service that is granted as many as there may be of a section.
fn granted(section: &str, source: &str) -> Vec<u8> {
    let head = format!("services:\n a:\n  image: i\n  {section}:\n");
    let mut text = each(&head, 7_999, |it| format!("   - n{it}\n"));
    text.extend(each(&format!("{section}:\n"), 7_999, |it| format!(" n{it}: {{{source}}}\n")));
    text
}

fn services_extending(times: usize) -> Vec<u8> {
    let map: String = (0..40).map(|it| format!("K{it}: v,")).collect();
    let head = format!("services:\n base: {{image: i, environment: {{{map}}}}}\n");
    each(&head, times, |it| format!(" s{it}: {{extends: base, hostname: h{it}}}\n"))
}
