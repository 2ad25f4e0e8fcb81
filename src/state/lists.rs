//! Lists in stored and sent forms, read without trust: what a length claims is not believed until the
//! items are there.
//!
//! serde's own `Vec` allocates for up to a mebibyte of items that a dozen bytes may claim.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};

/// How many items a list has at most. An item takes up to some fifty bytes of memory for each byte of
/// its encoding, so this is also a bound on that.
pub(super) const LIST_ITEMS_MAX: usize = 1 << 16;

/// A list that grows only as its items come.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Items::<T, LIST_ITEMS_MAX>(PhantomData)).map(Self)
    }
}

/// A list whose bound is that of the whole message.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct LongList<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for LongList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Items::<T, { usize::MAX }>(PhantomData)).map(Self)
    }
}

struct Items<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of up to {MAX} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut list = vec![];
        while let Some(item) = items.next_element()? {
            if list.len() == MAX {
                return Err(A::Error::custom(format!("a list has more than {MAX} items")));
            }
            list.push(item);
        }
        Ok(list)
    }
}

/// Bytes, which are there before they are copied.
#[derive(Debug)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Whole)
    }
}

impl<T> From<Vec<T>> for List<T> {
    fn from(list: Vec<T>) -> Self {
        Self(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_is_not_followed_by_items_costs_nothing() {
        let claim = [0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(postcard::from_bytes::<List<u64>>(&claim).is_err());
        assert!(postcard::from_bytes::<Bytes>(&claim).is_err());
        let read: List<u64> = postcard::from_bytes(&[3, 1, 2, 3]).unwrap();
        assert_eq!(read.0, [1, 2, 3]);
        assert!(read.0.capacity() < 8);
    }

    #[test]
    fn a_list_that_is_too_long_is_refused_where_it_becomes_so() {
        let long = vec![0u8; LIST_ITEMS_MAX + 1];
        let bytes = postcard::to_stdvec(&long).unwrap();
        let error = postcard::from_bytes::<List<u8>>(&bytes);
        assert!(error.is_err());
        assert_eq!(postcard::from_bytes::<LongList<u8>>(&bytes).unwrap().0, long);
    }
}
