//! Whether the time of an answer tells that an address has an account: at every door that takes one, pairs in turns, one by one.

use std::time::Instant;

use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{PASSWORD, Person, Side, json_of};
use crate::{
    Failure, Result,
    client::{Http, json_post, json_post_by},
    report::{Report, Spread, at_most},
};

/// Pairs at each door.
const PAIRS: u8 = 25;

/// Where an address is asked for, and the status of the answer. Not a registration: where it is open, as it is here, it says that
/// an address is taken.
const DOORS: [(&str, &str, u16); 6] = [
    ("refused login", "/auth/login", 401),
    ("forgotten password", "/auth/password/forgot", 202),
    ("link that signs in", "/auth/magic-link/start", 202),
    ("code that signs in", "/auth/otp/start", 202),
    ("proof once more", "/auth/verify-email/resend", 202),
    ("passkeys", "/auth/passkeys/login/options", 200),
];

/// Measures all of them. Each known address is somebody else's, for only so many mails go to one.
pub(super) async fn measure(report: &mut Report, ours: &mut Side) -> Result<()> {
    let mut known = People {
        next: 0,
        count: ours.members,
    };
    for (name, path, status) in DOORS {
        let request = |email: &str| {
            let body = match path {
                "/auth/login" => json!({"email": email, "password": "wrong password"}),
                _ => json!({"email": email}),
            };
            json_post(path, &body)
        };
        door(report, ours, &mut known, name, status, &request).await?;
    }
    let (path, token) = invitations(ours).await?;
    let request = |email: &str| {
        let body = json!({"email": email, "role": "ADULT_MEMBER"});
        json_post_by(&path, &token, &body)
    };
    door(report, ours, &mut known, "invitation", 201, &request).await
}

/// Addresses that have accounts, one after the other.
struct People {
    next: usize,
    count: usize,
}

impl People {
    fn address(&mut self) -> String {
        self.next = self.next % self.count + 1;
        Side::address_of(self.next)
    }
}

async fn door(
    report: &mut Report,
    ours: &Side,
    known: &mut People,
    name: &str,
    status: u16,
    request: &impl Fn(&str) -> Vec<u8>,
) -> Result<()> {
    let mut http = Http::over(TcpStream::connect(ours.address).await?);
    let mut times = Vec::new();
    for at in 0..at_most(PAIRS) {
        let nobody = format!("nobody{at}.{}@example.org", name.replace(' ', "-"));
        let mut pair = [(0, request(&known.address())), (1, request(&nobody))];
        let mut seconds = [0.0; 2];
        // Who goes first changes, so that an order would show as well.
        if at % 2 == 1 {
            pair.reverse();
        }
        for (side, bytes) in pair {
            let begun = Instant::now();
            let answer = http.send(&bytes).await?;
            seconds[side] = begun.elapsed().as_secs_f64();
            if answer.status != status {
                return Err(Failure::from(format!("{} for a {name}", answer.status)));
            }
        }
        times.push(seconds[1] / seconds[0]);
    }
    let name = format!("auth: {name}, time of an unknown address by that of a known one");
    report.spread(&name, Spread::of(times), "x", "0.8 to 1.25");
    Ok(())
}

/// Where an owner asks people into a new family, and the owner's token.
async fn invitations(ours: &mut Side) -> Result<(String, String)> {
    let person = ours.people[0].clone();
    let mut http = Http::over(TcpStream::connect(ours.address).await?);
    let login = json_post(
        "/auth/login",
        &json!({"email": person.email, "password": PASSWORD}),
    );
    let signed_in = json_of(&mut http, &login).await?;
    let signed_in: Person = ours.read(&signed_in["data"], &person)?;
    let make = json_post_by(
        "/auth/families",
        &signed_in.access,
        &json!({"name": "Ours"}),
    );
    let made = json_of(&mut http, &make).await?;
    let family = text(&made["data"]["id"])?;
    let switch = json!({"refresh_token": signed_in.refresh, "family_id": family});
    let switched = json_of(&mut http, &json_post("/auth/refresh", &switch)).await?;
    let token = text(&switched["data"]["access_token"])?;
    Ok((format!("/auth/families/{family}/invitations"), token))
}

fn text(value: &Value) -> Result<String> {
    let text = value.as_str().map(str::to_owned);
    text.ok_or_else(|| Failure::from(format!("no text: {value}")))
}
