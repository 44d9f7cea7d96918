//! One request at a time, on an endpoint that has nothing else to do: how long a prompt takes by itself.

use std::time::Duration;

use super::body::BodyForm;
use super::failure::TrialFailure;
use super::probe::{Answer, ask, refused_field};
use super::template::Template;
use crate::endpoint::{BaseUrl, Connector, EndpointError, said};
use crate::loadgen::{Api, Endpoint};
use crate::trial::Outcome;
use crate::workload::prompts::Prompt;

/// Tokens that are asked for: the first one is all that is waited for.
const OUTPUT_TOKENS: u32 = 1;

/// Sends requests, each when the one before it is answered.
pub struct LoneClient {
    connector: Connector,
    template: Template,
    form: BodyForm,
    runtime: tokio::runtime::Runtime,
    limit: Duration,
    /// Whether a request was answered: then what is refused is the prompt, not a field of the body.
    understood: bool,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum LoneAnswer {
    /// Its first token.
    Token(LoneTime),
    /// The endpoint does not take such a prompt, and why.
    Refused(String),
    /// It took it and did not answer, and why.
    Failed(String),
}

/// The first token of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoneTime {
    /// Time from sending to its arrival, seconds.
    pub seconds: f64,
    /// Tokens of the prompt as the server counts them, where it tells.
    pub prompt_tokens: Option<u32>,
    /// Those of them that it found in a prefix cache, where it tells.
    pub cached_tokens: Option<u32>,
}

impl LoneClient {
    /// A client of an endpoint; a request may take `limit`. Blocks while the host's name is resolved.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn new(endpoint: &Endpoint, key: Option<&str>, limit: Duration) -> Result<Self, TrialFailure> {
        let url: BaseUrl = endpoint.base_url.parse().map_err(EndpointError::from)?;
        Ok(Self {
            connector: Connector::new(&url, true)?,
            template: Template::new(endpoint.api, &url, key, true)?,
            form: BodyForm {
                api: endpoint.api,
                model: endpoint.model.clone(),
                dropped: Vec::new(),
            },
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            limit,
            understood: false,
        })
    }

    /// Fields that the endpoint refused, and that are left out since.
    pub fn dropped(&self) -> Vec<&'static str> {
        self.form.dropped.iter().map(|field| field.name()).collect()
    }

    /// Sends a prompt and waits for the end of the answer. `salt` seeds the sampling.
    ///
    /// # Errors
    /// When the endpoint cannot be reached, or does not speak the API.
    pub fn ask(&mut self, prompt: &Prompt, salt: u64) -> Result<LoneAnswer, TrialFailure> {
        if self.form.api == Api::Chat && matches!(prompt, Prompt::Ids(_)) {
            let why = "token ids cannot be sent to the chat API: use text prompts, or the completions API";
            return Err(TrialFailure::new("bad-job", why));
        }
        loop {
            let body = self.form.body(prompt, OUTPUT_TOKENS, salt);
            let asked = ask(&self.connector, &self.template, body);
            let limited = async { tokio::time::timeout(self.limit, asked).await };
            let Ok(answer) = self.runtime.block_on(limited) else {
                let seconds = self.limit.as_secs_f64();
                return Ok(LoneAnswer::Failed(format!("no answer within {seconds} s")));
            };
            match answer? {
                Answer::Status(status @ (400 | 422), text) if !self.understood => {
                    match refused_field(&self.form, &text) {
                        Some(field) => self.form.dropped.push(field),
                        None => {
                            return Ok(LoneAnswer::Refused(format!("status {status}: {}", said(&text))));
                        }
                    }
                }
                answer => {
                    let answer = self.judged(answer)?;
                    self.understood |= matches!(answer, LoneAnswer::Token(_));
                    return Ok(answer);
                }
            }
        }
    }

    fn judged(&self, answer: Answer) -> Result<LoneAnswer, TrialFailure> {
        let address = || format!("{}{}", self.connector.url(), self.form.api.path());
        let (tally, seconds) = match answer {
            Answer::Stream { tally, ttft_s, .. } => (tally, ttft_s),
            Answer::Status(status, text) if is_refusal(status) => {
                return Ok(LoneAnswer::Refused(format!("status {status}: {}", said(&text))));
            }
            Answer::Status(status @ (401 | 403 | 404 | 405), text) => {
                return Err(EndpointError::from_status(&address(), status, &text).into());
            }
            Answer::Status(status, text) => {
                return Ok(LoneAnswer::Failed(format!("status {status}: {}", said(&text))));
            }
            Answer::Broken(why) => return Ok(LoneAnswer::Failed(why)),
        };
        if !tally.has_events() {
            let why = "the answer is not an event stream".to_owned();
            return Err(EndpointError::NotOpenAi { url: address(), why }.into());
        }
        let (outcome, why) = tally.judge(OUTPUT_TOKENS);
        let why = || why.map_or_else(|| outcome.to_string(), |why| format!("{outcome}: {why}"));
        Ok(match outcome {
            // A server that has no minimum may end at once, and one token may be part of a letter: the prompt is
            // computed all the same, and the end of the answer tells when.
            Outcome::Ok | Outcome::WrongLength | Outcome::NoTokens => LoneAnswer::Token(LoneTime {
                seconds,
                prompt_tokens: tally.usage().prompt,
                cached_tokens: tally.usage().cached,
            }),
            Outcome::ErrorFrame(Some(code)) if is_refusal(code) => LoneAnswer::Refused(why()),
            _ => LoneAnswer::Failed(why()),
        })
    }
}

/// Whether a status says that the prompt is not taken.
fn is_refusal(status: u16) -> bool {
    matches!(status, 400 | 413 | 422)
}
