//! `/signin/mfa/totp`, `/mfa/totp/generate`, `/user/mfa`: authenticator apps.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use nself_plugin_api::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Answer, OK, Sent, SessionPayload, TICKET, answer};
use crate::{
    Auth,
    caller::Caller,
    problem,
    routes::{Private, mfa},
    second_factor::{self, Factor},
};

/// The second factor of a sign-in.
#[derive(Deserialize, Schema)]
pub(crate) struct Totp {
    /// From the answer to the first factor.
    pub ticket: String,
    /// As the app shows it.
    pub otp: String,
}

pub(crate) async fn sign_in(
    cx: Cx<Auth>,
    caller: Caller,
    Sent(sent): Sent<Totp>,
) -> Result<Answer<SessionPayload>> {
    answer(async {
        let Totp { ticket, otp } = sent?;
        let flow_id = ticket.strip_prefix(TICKET).and_then(|id| id.parse().ok());
        let flow_id = flow_id.ok_or_else(problem::bad_code)?;
        let tokens = second_factor::finish(&cx, flow_id, &Factor::Code(otp), &caller).await?;
        SessionPayload::of(&cx, tokens).await
    })
    .await
}

/// What an authenticator app is set up with.
#[derive(Serialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Generated {
    /// A QR code, as the address of an image.
    pub image_url: String,
    /// The same, to be typed.
    pub totp_secret: String,
}

pub(crate) async fn generate(cx: Cx<Auth>, principal: Principal) -> Result<Answer<Generated>> {
    answer(async {
        let Private(Data(enrolment)) = mfa::enroll(cx, principal).await?;
        Ok(Generated {
            image_url: format!(
                "data:image/svg+xml;base64,{}",
                BASE64.encode(enrolment.qr_svg)
            ),
            totp_secret: enrolment.secret,
        })
    })
    .await
}

/// Whether a second factor is asked for from now on.
#[derive(Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Activation {
    /// As the app shows it.
    pub code: String,
    /// `totp`, or empty for none.
    #[serde(default)]
    pub active_mfa_type: String,
}

/// Recovery codes, which hasura-auth has not, are made with `POST /auth/mfa/recovery-codes`.
pub(crate) async fn activate(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Sent(sent): Sent<Activation>,
) -> Result<Answer<&'static str>> {
    answer(async {
        let Activation {
            code,
            active_mfa_type,
        } = sent?;
        match active_mfa_type.as_str() {
            "totp" => {
                let confirmation = Json(mfa::Confirmation { code });
                mfa::confirm(cx, principal, caller, confirmation).await?;
            }
            "" => {
                mfa::remove(cx, principal, caller).await?;
            }
            _ => {
                return Err(Error::bad_request(
                    "BODY_INVALID",
                    "activeMfaType: expected totp, or nothing",
                ));
            }
        }
        Ok(OK)
    })
    .await
}
