use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use hyper::{Method, Request, Response};
use k8s_openapi::api::coordination::v1::Lease;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::apply::Leadership;

/// An API server that has one Lease at most, and checks versions.
#[derive(Clone, Debug, Default)]
struct Server {
    lease: Arc<Mutex<Option<Value>>>,
    /// How long each answer takes, the next one first; no time at all for those that are not listed.
    delays: Arc<Mutex<Vec<Duration>>>,
}

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        let answer = move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let method = request.method().clone();
                let body = request.into_body().collect_bytes().await.unwrap();
                let (code, body) = server.answer(&method, serde_json::from_slice(&body).unwrap_or_default());
                let delay = server.delays.lock().unwrap().pop().unwrap_or_default();
                sleep(delay).await;
                Ok::<_, Infallible>(
                    Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap(),
                )
            }
        };
        Client::new(tower::service_fn(answer), "home")
    }

    fn answer(&self, method: &Method, body: Value) -> (u16, Value) {
        let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        let version = lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
        let refused =
            |code: u16| (code, json!({"kind": "Status", "status": "Failure", "code": code, "message": "refused"}));
        let next = match (method, version) {
            (&Method::GET, Some(_)) => return (200, lease.clone().unwrap()),
            (&Method::POST, None) => 1,
            (&Method::PUT, Some(version)) if body["metadata"]["resourceVersion"] == version => {
                version.as_str().unwrap().parse::<u64>().unwrap() + 1
            }
            (&Method::POST | &Method::PUT, Some(_)) => return refused(409),
            _ => return refused(404),
        };
        let mut body = body;
        body["metadata"]["resourceVersion"] = json!(next.to_string());
        *lease = Some(body.clone());
        (200, body)
    }

    /// Somebody's Lease.
    fn held(holder: &Value) -> Self {
        let server = Self::default();
        let lease = json!({"metadata": {"name": LEASE, "resourceVersion": "1"}, "spec": {"holderIdentity": holder}});
        *server.lease.lock().unwrap() = Some(lease);
        server
    }

    fn campaign(&self, name: &str) -> (Campaign, Leadership) {
        let (mandate, leadership) = leadership();
        let leases = Leases::new(self.client(), "home", LEASE);
        let election = Election::new(name.to_owned());
        (Campaign { leases, election, mandate, hash: RandomState::new(), rounds: 0 }, leadership)
    }

    fn holder(&self) -> Value {
        self.lease.lock().unwrap().as_ref().unwrap()["spec"]["holderIdentity"].clone()
    }
}

#[tokio::test]
async fn of_two_that_take_it_at_once_one_has_it() {
    let server = Server::held(&Value::Null);
    let ((mut one, one_leads), (mut two, two_leads)) = (server.campaign("one"), server.campaign("two"));
    // Both have read it as free.
    for campaign in [&mut one, &mut two] {
        let lease = campaign.leases.read().await.unwrap();
        campaign.election.see(lease, now());
    }
    one.claim().await.unwrap();
    assert!(is(&two.claim().await.unwrap_err(), 409));
    assert!(one_leads.leads() && !two_leads.leads());
    assert_eq!(server.holder(), "one");
    // Nobody gives back what is another's.
    two.release().await.unwrap();
    assert_eq!(server.holder(), "one");
    one.release().await.unwrap();
    assert_eq!(server.holder(), Value::Null);
    two.round().await;
    assert_eq!(server.holder(), "two");
    // The one that has not noticed.
    one.round().await;
    assert_eq!(server.holder(), "two");
    assert!(!one_leads.leads() && two_leads.leads());
}

#[tokio::test]
async fn two_that_make_it_at_once_make_one() {
    let server = Server::default();
    let (leases, spec) = (Leases::new(server.client(), "home", LEASE), LeaseSpec::default());
    let made: Lease = leases.write(None, spec.clone()).await.unwrap();
    assert!(is(&leases.write(None, spec.clone()).await.unwrap_err(), 409));
    leases.write(Some(&made), spec.clone()).await.unwrap();
    assert!(is(&leases.write(Some(&made), spec).await.unwrap_err(), 409), "an older version");
}

#[tokio::test]
async fn a_term_is_measured_from_before_the_renewal_was_sent() {
    let server = Server::held(&Value::Null);
    let (mut campaign, leadership) = server.campaign("me");
    server.delays.lock().unwrap().push(Duration::from_millis(500));
    campaign.election.see(campaign.leases.read().await.unwrap(), now());
    server.delays.lock().unwrap().push(Duration::from_millis(500));
    let before = now();
    campaign.claim().await.unwrap();
    assert!(now() >= before + Duration::from_millis(500));
    assert!(leadership.until() < before + WRITES + Duration::from_millis(100), "the answer came half a second later");
}

#[tokio::test]
async fn a_renewal_without_an_answer_is_given_up_and_tried_again() {
    let server = Server::held(&Value::Null);
    server.delays.lock().unwrap().push(Duration::from_secs(3_600));
    let started = Instant::now();
    let candidate = Candidate::stand(server.client(), "home", Some("me"));
    let leadership = candidate.leadership();
    assert_eq!(leadership.turned(None).await, Some(1));
    assert!((ATTEMPT..ATTEMPT + RETRY).contains(&started.elapsed()), "{:?}", started.elapsed());
    candidate.resign().await;
    assert!(!leadership.leads());
    assert_eq!(server.holder(), Value::Null, "given back");
}

#[tokio::test]
async fn who_waits_looks_at_the_moment_when_it_is_free() {
    let server = Server::held(&json!("other"));
    let (mut campaign, _) = server.campaign("me");
    // Not long ago, as far as this one knows.
    let lease = campaign.leases.read().await.unwrap();
    campaign.election.see(lease, now().checked_sub(Duration::from_secs(14)).unwrap());
    let pause = campaign.round().await;
    assert!(pause > Duration::from_millis(500) && pause <= Duration::from_secs(1), "{pause:?}");
    assert!((RETRY..RETRY + RETRY / 4).contains(&campaign.pause()));
}
