//! The top level of a Compose file, and what stands beside its services.

use super::{
    language::{Key, Kind, Names, Shape, may, must},
    service::SERVICE,
};

/// A whole file.
pub static ROOT: Shape = Shape::Keys(&[
    may("version", TEXT),
    may("name", TEXT),
    may("include", Shape::List(&INCLUDE)),
    may("services", named(&Shape::Keys(SERVICE))),
    may("models", named(&Shape::Keys(MODEL))),
    may("networks", named(&Shape::OneOf(&[Shape::Keys(NETWORK), Shape::Null]))),
    may("volumes", named(&Shape::OneOf(&[Shape::Keys(VOLUME), Shape::Null]))),
    may("secrets", named(&Shape::Keys(SECRET))),
    may("configs", named(&Shape::Keys(CONFIG))),
]);

const INCLUDE: Shape = Shape::OneOf(&[
    TEXT,
    Shape::Closed(&[
        may("path", TEXT_OR_LIST),
        may("env_file", TEXT_OR_LIST),
        may("project_directory", TEXT),
    ]),
]);

const NETWORK: &[Key] = &[
    may("name", TEXT),
    may("driver", TEXT),
    may("driver_opts", OPTIONS),
    may(
        "ipam",
        Shape::Keys(&[
            may("driver", TEXT),
            may("config", Shape::List(&Shape::Keys(ADDRESS_POOL))),
            may("options", Shape::Named(Names::Free, &TEXT)),
        ]),
    ),
    may("external", EXTERNAL),
    may("internal", Shape::Flag),
    may("enable_ipv4", Shape::Flag),
    may("enable_ipv6", Shape::Flag),
    may("attachable", Shape::Flag),
    may("labels", PAIRS),
];

const ADDRESS_POOL: &[Key] = &[
    may("subnet", TEXT),
    may("ip_range", TEXT),
    may("gateway", TEXT),
    may("aux_addresses", Shape::Named(Names::Free, &TEXT)),
];

const VOLUME: &[Key] = &[
    may("name", TEXT),
    may("driver", TEXT),
    may("driver_opts", OPTIONS),
    may("external", EXTERNAL),
    may("labels", PAIRS),
];

const SECRET: &[Key] = &[
    may("name", TEXT),
    may("environment", TEXT),
    may("file", TEXT),
    may("external", EXTERNAL),
    may("labels", PAIRS),
    may("driver", TEXT),
    may("driver_opts", OPTIONS),
    may("template_driver", TEXT),
];

const CONFIG: &[Key] = &[
    may("name", TEXT),
    may("content", TEXT),
    may("environment", TEXT),
    may("file", TEXT),
    may("external", EXTERNAL),
    may("labels", PAIRS),
    may("template_driver", TEXT),
];

const MODEL: &[Key] = &[
    may("name", TEXT),
    must("model", TEXT),
    may("context_size", Shape::Bare),
    may("runtime_flags", Shape::List(&TEXT)),
];

const EXTERNAL: Shape = Shape::OneOf(&[Shape::Keys(&[may("name", TEXT)]), Shape::Flag]);

/// A string.
pub(super) const TEXT: Shape = Shape::Text;

/// One string or several, none twice.
pub(super) const TEXT_OR_LIST: Shape = Shape::OneOf(&[TEXT, Shape::Set(&TEXT)]);

/// Settings handed on to a driver.
pub(super) const OPTIONS: Shape = Shape::Named(Names::Free, &Shape::Spoken(&[Kind::Number]));

/// `KEY: value` as a mapping, or `KEY=value` as a list.
pub(super) const PAIRS: Shape = Shape::OneOf(&[
    Shape::Named(Names::Free, &Shape::Spoken(&[Kind::Number, Kind::Bool, Kind::Null])),
    Shape::Set(&TEXT),
]);

/// A mapping by resource name.
pub(super) const fn named(shape: &'static Shape) -> Shape {
    Shape::Named(Names::Plain, shape)
}
