//! Additional data of the encryption: the values to which a ciphertext is bound.

/// Bytes that consist of length-prefixed values, so different lists of values never give the same bytes.
pub(super) struct AdditionalData(Vec<u8>);

impl AdditionalData {
    /// Begins with the purpose, so a ciphertext of one purpose does not open for another purpose.
    pub(super) fn of(purpose: &str) -> Self {
        Self(Vec::with_capacity(256)).with(purpose.as_bytes())
    }

    /// Adds a value.
    pub(super) fn with(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(&(value.len() as u64).to_be_bytes());
        self.0.extend_from_slice(value);
        self
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_do_not_run_into_each_other() {
        let data = |values: &[&str]| {
            let begin = AdditionalData::of("test");
            values
                .iter()
                .fold(begin, |data, value| data.with(value.as_bytes()))
                .0
        };
        assert_ne!(data(&["ab", "c"]), data(&["a", "bc"]));
        assert_ne!(data(&["a", ""]), data(&["a"]));
    }
}
