//! The kinds of layers in a `config.json`: windows of attention, and layers without positions.

use serde_json::Value;

use super::fields::Fields;
use crate::config::{Architecture, AttentionSpan, LayerKind, LayerRope};
use crate::error::Result;

/// The window, and the kind of each layer where they differ.
pub(super) struct Layers {
    pub(super) window: Option<usize>,
    pub(super) kinds: Vec<LayerKind>,
}

impl Fields<'_> {
    /// The window and the layers that have it.
    pub(super) fn layers(&self, architecture: Architecture, n_layers: usize) -> Result<Layers> {
        let window = self.window(architecture)?;
        let has_rope = self.layers_with_rope(architecture, n_layers)?;
        let spans = self.spans(architecture, n_layers, window, &has_rope)?;
        // The frequencies of a layer with the window.
        let local = match architecture {
            Architecture::Gemma3 | Architecture::Olmo3 => LayerRope::Local,
            _ => LayerRope::Global,
        };
        let kinds: Vec<LayerKind> = spans
            .into_iter()
            .zip(has_rope)
            .map(|(span, has_rope)| LayerKind {
                span,
                rope: match span {
                    _ if !has_rope => LayerRope::None,
                    AttentionSpan::Window => local,
                    AttentionSpan::Full => LayerRope::Global,
                },
            })
            .collect();
        let has_window = kinds.iter().any(|kind| kind.span == AttentionSpan::Window);
        let window = window.filter(|_| has_window);
        // Without a window its span is that of everything.
        let plain = |kind: &LayerKind| {
            kind.rope == LayerRope::Global
                && (window.is_none() || kind.span == AttentionSpan::Window)
        };
        let kinds = if kinds.iter().all(plain) { Vec::new() } else { kinds };
        Ok(Layers { window, kinds })
    }

    /// The window of the layers that have one.
    fn window(&self, architecture: Architecture) -> Result<Option<usize>> {
        let given = || self.get("sliding_window").map(|_| self.size("sliding_window", None));
        Ok(match architecture {
            Architecture::Mistral if self.map.contains_key("sliding_window") => {
                given().transpose()?
            }
            Architecture::Mistral => Some(4096),
            Architecture::Phi3 => given().transpose()?,
            Architecture::Qwen2 | Architecture::Qwen3 if self.flag("use_sliding_window")? => {
                Some(self.size("sliding_window", Some(4096))?)
            }
            Architecture::SmolLm3 if self.flag("use_sliding_window")? => given().transpose()?,
            Architecture::Olmo3 | Architecture::Gemma2 | Architecture::Gemma3 => {
                Some(self.size("sliding_window", Some(4096))?)
            }
            // A Llama has no window, whatever the field says.
            _ => None,
        })
    }

    /// Which layers turn queries and keys.
    fn layers_with_rope(&self, architecture: Architecture, n_layers: usize) -> Result<Vec<bool>> {
        if architecture != Architecture::SmolLm3 {
            return Ok(vec![true; n_layers]);
        }
        match self.get("no_rope_layers") {
            None => {
                let every = self.size("no_rope_layer_interval", Some(4))?;
                Ok((1..=n_layers).map(|nth| nth % every != 0).collect())
            }
            Some(list) => {
                let flag = |value: &Value| match value {
                    Value::Bool(flag) => Some(*flag),
                    value => value.as_u64().filter(|flag| *flag <= 1).map(|flag| flag == 1),
                };
                let flags = list.as_array().and_then(|list| list.iter().map(flag).collect());
                flags.filter(|flags: &Vec<bool>| flags.len() == n_layers).ok_or_else(|| {
                    self.invalid("no_rope_layers", "0 or 1 for each of `num_hidden_layers`")
                })
            }
        }
    }

    /// What each layer attends to.
    fn spans(
        &self,
        architecture: Architecture,
        n_layers: usize,
        window: Option<usize>,
        has_rope: &[bool],
    ) -> Result<Vec<AttentionSpan>> {
        use AttentionSpan::{Full, Window};
        let all = |span| vec![span; n_layers];
        let every =
            |n: usize| (1..=n_layers).map(|nth| if nth % n == 0 { Full } else { Window }).collect();
        // Classes without layers of several types.
        if matches!(architecture, Architecture::Phi3 | Architecture::Granite | Architecture::Olmo2)
        {
            return Ok(all(Window));
        }
        if let Some(types) = self.get("layer_types") {
            let types = types.as_array().map(Vec::as_slice).unwrap_or_default();
            let span = |value: &Value| match value.as_str() {
                Some("full_attention") => Some(Full),
                Some("sliding_attention") if window.is_some() => Some(Window),
                // A window that is not there.
                Some("sliding_attention") if architecture == Architecture::SmolLm3 => Some(Full),
                _ => None,
            };
            let spans: Option<Vec<_>> = types.iter().map(span).collect();
            return spans.filter(|spans| spans.len() == n_layers).ok_or_else(|| {
                let expected = match window {
                    Some(_) => "`full_attention` or `sliding_attention` for every layer",
                    None => "`full_attention` throughout",
                };
                self.unsupported("layer_types", expected)
            });
        }
        Ok(match architecture {
            Architecture::Qwen2 | Architecture::Qwen3 if window.is_some() => {
                // The first layers attend to everything.
                let n_full = match self.get("max_window_layers") {
                    None => 28,
                    Some(value) => value
                        .as_u64()
                        .ok_or_else(|| self.invalid("max_window_layers", "a number of layers"))?
                        as usize,
                };
                (0..n_layers).map(|layer| if layer < n_full { Full } else { Window }).collect()
            }
            Architecture::SmolLm3 => {
                has_rope.iter().map(|has| if *has { Full } else { Window }).collect()
            }
            Architecture::Gemma2 => every(2),
            Architecture::Olmo3 => every(4),
            Architecture::Gemma3 => {
                let names = ["sliding_window_pattern", "_sliding_window_pattern"];
                let given = names.into_iter().find(|name| self.get(name).is_some());
                every(given.map_or(Ok(6), |name| self.size(name, None))?)
            }
            _ => all(Window),
        })
    }
}
