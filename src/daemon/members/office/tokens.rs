//! Join tokens: making them, what is kept of each, and whether one is still good.

use std::sync::Arc;

use rand_core::{OsRng, RngCore};
use serde::{Deserialize, Serialize};

use super::Office;
use crate::{
    api::{NewToken, TokenStanding},
    gossip::{ClusterHash, Epoch, Role, Token, TokenFields},
    model::{Millis, NodeId, TokenId, WallTime},
    node::{Refusal, Request},
    state::{SealedSecret, SecretPath},
};

/// What is kept of a token: everything but its secret, which follows from it.
#[derive(Serialize, Deserialize)]
struct TokenForm {
    epoch: u32,
    expires: u64,
    uses: u16,
    created: u64,
    by: u128,
    revoked: bool,
}

impl Office {
    /// That a token was not revoked, nor used up. Two members that do not reach each other may each let
    /// one in; that is seen when they do.
    pub(in super::super) fn check_token(&self, fields: &TokenFields) -> Result<(), String> {
        let state = self.state();
        let used = state.token_uses().get(&fields.id).copied().unwrap_or_default();
        if fields.uses != 0 && usize::from(fields.uses) <= used {
            let uses = fields.uses;
            return Err(format!(
                "the token was good for {uses} node(s), and they have come: get a new one from `fizz \
                 token create`"
            ));
        }
        let path = SecretPath::Token(fields.id);
        let kept = state.secrets().get(&path).and_then(|it| self.read_token(&path, it));
        match kept {
            Some(form) if form.revoked => {
                Err("the token was revoked: get a new one from `fizz token create`".to_owned())
            }
            // One that was made in a part of the cluster that is cut off is as good as its secret.
            Some(_) | None => Ok(()),
        }
    }

    pub(super) async fn make_token(&self, ttl: Millis, uses: u16) -> Result<NewToken, Refusal> {
        let credentials = self.in_a_cluster()?;
        let keys = self.keys();
        let now = self.clock.now().wall;
        let fields = TokenFields {
            cluster: ClusterHash::of(credentials.id),
            id: TokenId(OsRng.next_u64()),
            epoch: keys.newest(),
            expires: (now.0.saturating_add(ttl.0)) / 1000,
            uses,
            role: Role::Member,
        };
        let missing = || Refusal::Conflict("this node has no keys".to_owned());
        let token = Token::mint(&keys, fields).ok_or_else(missing)?;
        let form = TokenForm {
            epoch: fields.epoch.0,
            expires: fields.expires,
            uses,
            created: now.0,
            by: self.identity.id().0,
            revoked: false,
        };
        self.keep_token(fields.id, &form).await?;
        Ok(NewToken { id: fields.id, text: token.text() })
    }

    pub(super) fn all_tokens(&self) -> Vec<TokenStanding> {
        let state = self.state();
        let (newest, uses) = (self.keys().newest(), state.token_uses());
        let now = self.clock.now().wall;
        let standing = |(path, sealed): (&SecretPath, &Arc<SealedSecret>)| {
            let SecretPath::Token(id) = path else { return None };
            let form = self.read_token(path, sealed)?;
            let expires = WallTime(form.expires.saturating_mul(1000));
            Some(TokenStanding {
                id: *id,
                created: WallTime(form.created),
                by: NodeId(form.by),
                expires,
                uses: form.uses,
                used: uses.get(id).copied().unwrap_or_default(),
                revoked: form.revoked,
                stale: Epoch(form.epoch) != newest,
                expired: expires <= now,
            })
        };
        state.secrets().iter().filter_map(standing).collect()
    }

    pub(super) async fn revoke(&self, id: TokenId) -> Result<(), Refusal> {
        self.in_a_cluster()?;
        let path = SecretPath::Token(id);
        let state = self.state();
        let missing = || Refusal::NotFound { what: "token", name: id.to_string() };
        let sealed = state.secrets().get(&path).ok_or_else(missing)?;
        let form = self.read_token(&path, sealed).ok_or_else(missing)?;
        self.keep_token(id, &TokenForm { revoked: true, ..form }).await
    }

    fn read_token(&self, path: &SecretPath, sealed: &SealedSecret) -> Option<TokenForm> {
        postcard::from_bytes(&self.vault.open(path, sealed).ok()?).ok()
    }

    async fn keep_token(&self, id: TokenId, form: &TokenForm) -> Result<(), Refusal> {
        let wrong = |error: String| Refusal::Conflict(error);
        let path = SecretPath::Token(id);
        let bytes = postcard::to_stdvec(form).map_err(|error| wrong(error.to_string()))?;
        let sealed = self.vault.seal(&path, &bytes).map_err(|error| wrong(error.to_string()))?;
        self.ask(Request::Keep(path, Some(sealed))).await.map(drop)
    }
}
