//! One table of routes, from which both the router and the OpenAPI document (3.1) are built, so that
//! they cannot differ.

use axum::{
    Router,
    handler::Handler,
    routing::{MethodFilter, MethodRouter, on},
};
use utoipa::{
    IntoParams, ToSchema,
    openapi::{
        ComponentsBuilder, Content, ContentBuilder, HttpMethod, InfoBuilder, Object, OpenApi,
        OpenApiBuilder, Paths, Ref, RefOr, Required, Response, ResponseBuilder, Schema,
        path::{OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::{ArrayBuilder, SchemaFormat, Type},
    },
};

use super::{app::App, extract, wire};

/// One route: what answers, and what the document says of it.
pub(super) struct Route {
    path: &'static str,
    method: HttpMethod,
    handler: MethodRouter<App>,
    operation: OperationBuilder,
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl Route {
    pub(super) fn get<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(path, HttpMethod::Get, on(MethodFilter::GET, handler))
    }

    pub(super) fn post<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(path, HttpMethod::Post, on(MethodFilter::POST, handler))
    }

    pub(super) fn put<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(path, HttpMethod::Put, on(MethodFilter::PUT, handler))
    }

    pub(super) fn delete<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(path, HttpMethod::Delete, on(MethodFilter::DELETE, handler))
    }

    fn new(path: &'static str, method: HttpMethod, handler: MethodRouter<App>) -> Self {
        let parts = path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'));
        let operation = parts.fold(OperationBuilder::new(), |operation, name| {
            let text = Object::with_type(Type::String);
            operation.parameter(
                ParameterBuilder::new()
                    .name(name)
                    .parameter_in(ParameterIn::Path)
                    .required(Required::True)
                    .schema(Some(text)),
            )
        });
        let route = Self { path, method, handler, operation, schemas: Vec::new() };
        let problem = ResponseBuilder::new()
            .description("What is wrong, why, and what to do next")
            .content("application/problem+json", Content::new(Some(reference::<wire::Problem>())));
        route.knows::<wire::Problem>().responds("default", problem.build())
    }

    /// In a few words.
    pub(super) fn says(mut self, summary: &str) -> Self {
        self.operation = self.operation.summary(Some(summary));
        self
    }

    /// The query that it understands.
    pub(super) fn query<P: IntoParams>(mut self) -> Self {
        for parameter in P::into_params(|| Some(ParameterIn::Query)) {
            self.operation = self.operation.parameter(parameter);
        }
        self
    }

    /// A header that it understands.
    pub(super) fn header(mut self, name: &str, what: &str) -> Self {
        self.operation = self.operation.parameter(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Header)
                .required(Required::False)
                .description(Some(what))
                .schema(Some(Object::with_type(Type::String))),
        );
        self
    }

    /// A JSON body.
    pub(super) fn takes<T: ToSchema>(mut self) -> Self {
        let content = Content::new(Some(reference::<T>()));
        let body = RequestBodyBuilder::new().content(extract::JSON, content);
        self.operation =
            self.operation.request_body(Some(body.required(Some(Required::True)).build()));
        self.knows::<T>()
    }

    /// A tar stream as the body.
    pub(super) fn takes_tar(mut self) -> Self {
        let body = RequestBodyBuilder::new().content(extract::TAR, bytes());
        self.operation =
            self.operation.request_body(Some(body.required(Some(Required::True)).build()));
        self
    }

    /// A JSON document.
    pub(super) fn answers<T: ToSchema>(self, status: &str, what: &str) -> Self {
        let content = Content::new(Some(reference::<T>()));
        let response = ResponseBuilder::new().description(what).content(extract::JSON, content);
        self.knows::<T>().responds(status, response.build())
    }

    /// A JSON list.
    pub(super) fn lists<T: ToSchema>(self, what: &str) -> Self {
        let list = ArrayBuilder::new().items(reference::<T>());
        let content = Content::new(Some(Schema::Array(list.build())));
        let response = ResponseBuilder::new().description(what).content(extract::JSON, content);
        self.knows::<T>().responds("200", response.build())
    }

    /// JSON documents, a line each.
    pub(super) fn streams<T: ToSchema>(self, kind: &str, what: &str) -> Self {
        let content = Content::new(Some(reference::<T>()));
        let response = ResponseBuilder::new().description(what).content(kind, content);
        self.knows::<T>().responds("200", response.build())
    }

    /// Something that is no JSON.
    pub(super) fn sends(self, kind: &str, what: &str) -> Self {
        let response = ResponseBuilder::new().description(what).content(kind, bytes());
        self.responds("200", response.build())
    }

    /// No body.
    pub(super) fn nothing(self, status: &str, what: &str) -> Self {
        self.responds(status, Response::new(what))
    }

    fn responds(mut self, status: &str, response: Response) -> Self {
        self.operation = self.operation.response(status, response);
        self
    }

    fn knows<T: ToSchema>(mut self) -> Self {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
        self
    }
}

fn reference<T: ToSchema>() -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(T::name()))
}

fn bytes() -> Content {
    let binary = SchemaFormat::Custom("binary".to_owned());
    let object = utoipa::openapi::ObjectBuilder::new().schema_type(Type::String);
    ContentBuilder::new().schema(Some(Schema::Object(object.format(Some(binary)).build()))).build()
}

/// The router and the document of a table.
pub(super) fn build(table: Vec<Route>) -> (Router<App>, OpenApi) {
    let (mut router, mut paths) = (Router::new(), Paths::new());
    let mut components = ComponentsBuilder::new();
    for route in table {
        router = router.route(route.path, route.handler);
        paths.add_path_operation(route.path, vec![route.method], route.operation.build());
        components = components.schemas_from_iter(route.schemas);
    }
    let info = InfoBuilder::new()
        .title("Fizz")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("The HTTP interface of a Fizz node, on its Unix socket."));
    let document =
        OpenApiBuilder::new().info(info).paths(paths).components(Some(components.build()));
    (router, document.build())
}
