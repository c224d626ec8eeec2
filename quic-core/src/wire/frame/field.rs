//! The building block of frames that are nothing but variable-length integers.

use crate::error::Violation;
use crate::wire::cursor::{Reader, Writer};
use crate::wire::varint;
use crate::wire::{ApplicationErrorCode, StreamId, VarInt};

/// A value that travels as one variable-length integer.
pub(super) trait Field: Copy + Sized {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Violation>;

    fn to_wire(self) -> u64;
}

impl Field for u64 {
    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Violation> {
        Ok(reader.varint()?)
    }

    #[inline]
    fn to_wire(self) -> u64 {
        self
    }
}

impl Field for StreamId {
    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Violation> {
        Ok(Self::from_varint(reader.varint()?))
    }

    #[inline]
    fn to_wire(self) -> u64 {
        self.into_inner()
    }
}

impl Field for ApplicationErrorCode {
    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Violation> {
        Ok(Self(VarInt::decode(reader)?))
    }

    #[inline]
    fn to_wire(self) -> u64 {
        self.into_inner()
    }
}

#[inline]
pub(super) fn size(field: impl Field) -> usize {
    varint::size(field.to_wire())
}

#[inline]
pub(super) fn encode(field: impl Field, writer: &mut Writer<'_>) {
    writer.varint(field.to_wire());
}

/// Defines a frame whose fields are variable-length integers in the given order.
macro_rules! integer_frame {
    (
        $(#[$attribute:meta])*
        $name:ident = $ty:ident {
            $($(#[$field_attribute:meta])* $field:ident: $kind:ty,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_attribute])* pub $field: $kind,)+
        }

        impl $name {
            /// Reads what follows the frame type.
            #[inline]
            pub(super) fn decode(
                reader: &mut $crate::wire::Reader<'_>,
            ) -> Result<Self, $crate::error::Violation> {
                $(let $field = <$kind as $crate::wire::frame::field::Field>::decode(reader)?;)+
                Ok(Self { $($field),+ })
            }

            /// Length of the whole frame in bytes.
            #[inline]
            pub fn size(&self) -> usize {
                1 $(+ $crate::wire::frame::field::size(self.$field))+
            }

            /// Writes the whole frame.
            #[inline]
            pub fn encode(&self, writer: &mut $crate::wire::Writer<'_>) {
                writer.varint($crate::wire::FrameType::$ty.0);
                $($crate::wire::frame::field::encode(self.$field, writer);)+
            }
        }
    };
}

pub(super) use integer_frame;
