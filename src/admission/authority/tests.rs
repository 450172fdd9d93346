//! Authorities over time: nothing here looks at a clock.

use super::*;

const DAY: Duration = Duration::from_secs(86_400);
const LONG: Lifetimes =
    Lifetimes { authority: Duration::from_secs(365 * 86_400), leaf: Duration::from_secs(7 * 86_400) };

fn start() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn made(now: OffsetDateTime) -> Material {
    Authority::make(LONG, "", now).unwrap()
}

#[track_caller]
fn replaced(found: Option<&Material>, now: OffsetDateTime) -> Material {
    replacement(found, LONG, now).unwrap().expect("it is replaced").0
}

#[track_caller]
fn kept(found: &Material, now: OffsetDateTime) {
    let why = replacement(Some(found), LONG, now).unwrap().map(|(_, why)| why);
    assert_eq!(why, None);
}

#[test]
fn an_authority_is_kept_for_two_thirds_of_its_time() {
    let first = replaced(None, start());
    assert_eq!(first.bundle, first.certificate);
    kept(&first, start());
    kept(&first, start() + DAY * 243);
    let second = replaced(Some(&first), start() + DAY * 244);
    assert_ne!(second.certificate, first.certificate);
    assert_ne!(*second.key, *first.key);
}

#[test]
fn the_previous_authority_is_trusted_until_its_end() {
    let first = made(start());
    let second = replaced(Some(&first), start() + DAY * 244);
    let old = Authority::read(&first, start()).unwrap();
    let new = Authority::read(&second, start() + DAY * 244).unwrap();
    assert!(
        old.is_trusted_by(&second.bundle) && new.is_trusted_by(&second.bundle) && !new.is_trusted_by(&first.bundle)
    );
    kept(&second, start() + DAY * 364);
    let third = replaced(Some(&second), start() + DAY * 365);
    assert_eq!(
        (third.certificate.as_str(), third.bundle.as_str()),
        (second.certificate.as_str(), second.certificate.as_str())
    );
    kept(&third, start() + DAY * 365);
}

#[test]
fn nobody_signs_with_an_authority_before_it_is_known() {
    let authority = Authority::read(&made(start()), start()).unwrap();
    assert!(!authority.is_settled(LONG, start() + Duration::from_secs(299)));
    assert!(authority.is_settled(LONG, start() + Duration::from_secs(300)));
    let short = Lifetimes { authority: Duration::from_secs(30), leaf: Duration::from_secs(12) };
    assert_eq!(short.settle(), Duration::from_secs(3));
    assert!(short.period() * 3 <= short.settle());
    assert_eq!(LONG.period(), Duration::from_secs(30));
}

#[test]
fn what_cannot_sign_is_replaced_and_not_trusted() {
    let (good, other) = (made(start()), made(start()));
    let leaf = Authority::read(&good, start()).unwrap().sign(&["a.b.svc".to_owned()], LONG, start()).unwrap();
    let leaf_key = KeyPair::try_from(leaf.key.as_slice()).unwrap().serialize_pem();
    let leaf = Material { key: leaf_key.into(), certificate: pem_of(&leaf.certificate), bundle: good.bundle.clone() };
    let text = |text: &str| text.to_owned();
    let broken = [
        ("nothing", Material::default()),
        ("no certificate", Material { certificate: text("hello"), ..good.clone() }),
        ("no key", Material { key: Zeroizing::new(text("hello")), ..good.clone() }),
        ("another key", Material { key: other.key.clone(), ..good.clone() }),
        ("no authority", leaf),
        ("a broken certificate", Material { certificate: format!("{BEGIN}\nAAAA\n{END}\n"), ..good.clone() }),
    ];
    for (what, material) in broken {
        let new = replaced(Some(&material), start());
        assert!(Authority::read(&new, start()).is_ok(), "{what}");
        assert_eq!(new.bundle, new.certificate, "{what}");
    }
    let new = replaced(Some(&good), start() + DAY * 366);
    assert_eq!(new.bundle, new.certificate, "it has expired");
    let new = replaced(Some(&good), start() - DAY);
    assert_eq!(new.bundle, new.certificate, "it is not valid yet");
}

#[test]
fn a_broken_bundle_is_mended_without_a_new_key() {
    let good = made(start());
    for bundle in ["", "hello", BEGIN, &format!("{BEGIN}\nAAAA\n{END}\n"), &format!("{0}{0}", good.bundle)] {
        let mended = replaced(Some(&Material { bundle: bundle.to_owned(), ..good.clone() }), start());
        assert_eq!(
            (mended.bundle.as_str(), mended.key.as_str()),
            (good.bundle.as_str(), good.key.as_str()),
            "{bundle:?}"
        );
        kept(&mended, start());
    }
    let many: String = (0..5).map(|_| made(start()).certificate).collect();
    let mended = replaced(Some(&Material { bundle: many, ..good.clone() }), start());
    assert_eq!(blocks(&mended.bundle).count(), 1 + PREVIOUS);
}

#[test]
fn a_leaf_ends_before_its_authority() {
    let authority = Authority::read(&made(start()), start()).unwrap();
    let hosts = ["tracesteward-webhook.ns.svc".to_owned(), "127.0.0.1".to_owned()];
    let leaf = authority.sign(&hosts, LONG, start()).unwrap();
    assert_eq!(leaf.validity.until, start() + DAY * 7);
    assert_eq!(leaf.validity.renewal(), start() + DAY * 14 / 3);
    assert_eq!(validity(&leaf.certificate), Some(leaf.validity));
    let late = authority.sign(&hosts, LONG, start() + DAY * 363).unwrap();
    assert_eq!(late.validity.until, start() + DAY * 365);
}

#[test]
fn keys_are_not_printed() {
    let material = made(start());
    let authority = Authority::read(&material, start()).unwrap();
    assert!(!format!("{material:?} {authority:?}").contains("PRIVATE"));
}

fn pem_of(der: &CertificateDer<'_>) -> String {
    use k8s_openapi::ByteString;
    let base64 = serde_json::to_value(ByteString(der.to_vec())).unwrap();
    format!("{BEGIN}\n{}\n{END}\n", base64.as_str().unwrap())
}
