//! The description of a service that accepts and shows the numbers that imported patients had in the former
//! service.

use utoipa::openapi::path::{Parameter, PathItem};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, OpenApi, RefOr, Schema, Type};

use super::fields;

/// Schemas of responses in which the id can be a number.
const SCHEMAS: [&str; 3] = ["ListedPatient", "Patient", "ReadPatient"];
/// Routes with such an id in the path or in a parameter, and the name of the parameter.
const PARAMETERS: [(&str, &str); 3] = [
    ("/patients/{id}", "id"),
    ("/patients", "after"),
    ("/getPatients", "after"),
];

/// Returns the schema of an id that is a UUID or a number.
fn id_or_number() -> Schema {
    let number = ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::Integer))
        .minimum(Some(0));
    let text = "The id of the patient or, for a patient who was imported from the former service, the number in that service.";
    let either = OneOfBuilder::new().item(fields::uuid()).item(number);
    either.description(Some(text)).build().into()
}

/// Describes the ids of patients as UUIDs or numbers, where the service accepts or shows numbers.
pub(crate) fn allow_numbers(document: &mut OpenApi) {
    let schemas = document
        .components
        .as_mut()
        .map(|components| &mut components.schemas);
    for (name, schema) in schemas.into_iter().flatten() {
        if let RefOr::T(Schema::Object(object)) = schema
            && SCHEMAS.contains(&name.as_str())
            && let Some(id) = object.properties.get_mut("id")
        {
            *id = RefOr::T(id_or_number());
        }
    }
    for (path, name) in PARAMETERS {
        if let Some(item) = document.paths.paths.get_mut(path) {
            for parameter in parameters(item).filter(|parameter| parameter.name == name) {
                parameter.schema = Some(RefOr::T(id_or_number()));
            }
        }
    }
}

fn parameters(item: &mut PathItem) -> impl Iterator<Item = &mut Parameter> {
    let operations = [&mut item.get, &mut item.patch, &mut item.delete];
    let operations = operations.into_iter().flatten();
    let parameters = operations.filter_map(|operation| operation.parameters.as_mut());
    parameters.flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(parameter),
        RefOr::Ref(_) => None,
    })
}
