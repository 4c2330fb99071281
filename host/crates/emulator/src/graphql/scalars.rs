//! The platform's scalars: text that means something.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use jiff::Timestamp;

/// A scalar that is text, by its GraphQL name.
macro_rules! text_scalar {
    ($(#[$doc:meta])* $name:ident $graphql:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(super) struct $name(pub(super) String);

        #[Scalar(name = $graphql)]
        impl ScalarType for $name {
            fn parse(value: Value) -> InputValueResult<Self> {
                match value {
                    Value::String(text) => Ok(Self(text)),
                    Value::Number(number) => Ok(Self(number.to_string())),
                    value => Err(InputValueError::expected_type(value)),
                }
            }

            fn to_value(&self) -> Value {
                Value::String(self.0.clone())
            }
        }
    };
}

text_scalar! {
    /// A time in UTC, to the second.
    DateTime "DateTime"
}
text_scalar! {
    /// HTML.
    Html "HTML"
}
text_scalar! {
    /// An address.
    Url "URL"
}
text_scalar! {
    /// An amount of the shop's currency.
    Money "Money"
}
text_scalar! {
    /// A number of 64 bits, as text: a double would round it.
    UnsignedInt64 "UnsignedInt64"
}

impl From<Timestamp> for DateTime {
    fn from(time: Timestamp) -> Self {
        Self(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }
}
