//! The collector's arithmetic of shares: which hash a trace id has, and up to which one a percentage keeps.

/// A trace id.
pub type TraceId = [u8; 16];

/// What the collector's `probabilistic` policies begin their hash with where no salt is set.
const SALT: &[u8] = b"default-hash-seed";
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x100_0000_01b3;

/// FNV-1a over the salt and the id.
pub(super) fn hash(id: &TraceId) -> u64 {
    const SALTED: u64 = fold(OFFSET, SALT);
    fold(SALTED, id)
}

const fn fold(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut rest = bytes;
    while let [first, others @ ..] = rest {
        hash = (hash ^ *first as u64).wrapping_mul(PRIME);
        rest = others;
    }
    hash
}

/// The highest hash that is kept at this percentage. The collector multiplies in floating point with a mantissa of 64 bits and
/// cuts off the rest; 53 bits would decide otherwise near the threshold.
pub(super) fn threshold(percentage: f64) -> Option<u64> {
    let ratio = percentage / 100.0;
    if ratio.is_nan() || ratio <= 0.0 {
        return None;
    }
    if ratio >= 1.0 {
        return Some(u64::MAX);
    }
    // ratio = mantissa * 2^exponent; a ratio as small as to be subnormal keeps nothing that has a hash above 0.
    let bits = ratio.to_bits();
    let mantissa = (bits & ((1 << 52) - 1)) | 1 << 52;
    let exponent = i32::try_from(bits >> 52).unwrap_or_default() - 1075;
    let product = u128::from(mantissa) * u128::from(u64::MAX);
    let surplus = u128::BITS - product.leading_zeros() - u64::BITS;
    let (mut rounded, rest) = (product >> surplus, product & ((1 << surplus) - 1));
    let half = 1_u128 << (surplus - 1);
    if rest > half || (rest == half && rounded & 1 == 1) {
        rounded += 1;
    }
    let shift = exponent.unsigned_abs().saturating_sub(surplus);
    Some(u64::try_from(rounded.checked_shr(shift).unwrap_or(0)).unwrap_or(u64::MAX))
}

/// Whether an SDK begins to record a trace: the low 8 bytes of the id below ratio * 2^64, rounded half to even, as the
/// TraceIdRatioBased sampler of Python does it.
pub(super) fn begins(id: &TraceId, ratio: f64) -> bool {
    let [_, _, _, _, _, _, _, _, low @ ..] = *id;
    // 2^64; ratios are at most 1, so that the product is exact in 128 bits.
    let bound = (ratio * 18_446_744_073_709_551_616.0).round_ties_even();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 2^64, a whole number")]
    let bound = bound as u128;
    u128::from(u64::from_be_bytes(low)) < bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_that_were_measured() {
        let known: [(u128, u64); 4] = [
            (0xadba_fed0_b600_860c_7bdc_fd55_3043_74b3, 0x026e_db8c_3d38_8721),
            (0x49a4_c222_6a6d_c402_d0a3_727d_c7be_5613, 0x006f_244e_64bd_8a81),
            (0x6cbd_bb71_075f_0e1d_4d5f_ad71_a7e2_7f8c, 0x0325_0c6d_f9f7_8c25),
            (0x6919_0876_a0c5_b20c_2885_f868_301a_5d12, 0xf4a0_7c19_5e96_7a4a),
        ];
        for (id, expected) in known {
            assert_eq!(hash(&id.to_be_bytes()), expected, "{id:032x}");
        }
    }

    #[test]
    fn thresholds_are_those_that_were_measured() {
        assert_eq!(threshold(0.1), Some(0x0041_8937_4bc6_a7ef));
        assert_eq!(threshold(1.0), Some(0x028f_5c28_f5c2_8f5f));
        assert_eq!(threshold(10.0), Some(0x1999_9999_9999_99ff));
        assert_eq!(threshold(50.0), Some(u64::MAX / 2));
        assert_eq!(threshold(100.0), Some(u64::MAX));
        assert_eq!(threshold(0.0), None);
        assert_eq!(threshold(1e-300), Some(0));
    }

    #[test]
    fn sdks_look_at_the_low_half_of_the_id() {
        let id = |low: u64| (u128::from(low) | u128::MAX << 64).to_be_bytes();
        assert!(begins(&id(0), 0.1) && begins(&id(u64::MAX), 1.0));
        assert!(!begins(&id(0), 0.0) && !begins(&id(u64::MAX), 0.1));
        // round(0.5 * 2^64) = 2^63.
        assert!(begins(&id((1 << 63) - 1), 0.5) && !begins(&id(1 << 63), 0.5));
    }
}
