//! The templates of a checkpoint: one, or several with names.
//!
//! As in `transformers` 5: templates in files of their own (`chat_template.jinja`, called `default`,
//! and `additional_chat_templates/NAME.jinja`) replace those of `tokenizer_config.json`, where
//! `chat_template` is a source, a map of sources by name, or a list of names with sources.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::ChatTemplate;
use crate::error::{Error, Result};

/// The name of the template that is used when none is asked for.
const DEFAULT: &str = "default";
/// Its file.
const FILE: &str = "chat_template.jinja";
/// Folders of further ones: that of `transformers`, and one that people make.
const FOLDERS: [&str; 2] = ["additional_chat_templates", "chat_templates"];

/// The templates of a model, by name; at least one.
#[derive(Debug, Clone)]
pub struct ChatTemplates {
    /// Source and origin of each.
    templates: BTreeMap<String, (String, String)>,
    /// Where they were looked for.
    origin: String,
}

impl ChatTemplates {
    /// From sources by name; `None` if there are none. `origin` names their file in errors.
    pub fn new(
        templates: impl IntoIterator<Item = (String, String)>,
        origin: &str,
    ) -> Option<Self> {
        let with_origin = |(name, source)| (name, (source, origin.to_owned()));
        let templates: BTreeMap<_, _> = templates.into_iter().map(with_origin).collect();
        (!templates.is_empty()).then(|| Self { templates, origin: origin.to_owned() })
    }

    /// The templates of a checkpoint's folder.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::InvalidTemplate`] for a `chat_template` of another form.
    pub fn from_folder(folder: &Path) -> Result<Option<Self>> {
        let mut templates = BTreeMap::new();
        let mut add = |name: &str, path: &Path| -> Result<()> {
            let source = read(path)?;
            templates.insert(name.to_owned(), (source, path.display().to_string()));
            Ok(())
        };
        let file = folder.join(FILE);
        if file.is_file() {
            add(DEFAULT, &file)?;
        }
        for name in FOLDERS {
            let Ok(entries) = folder.join(name).read_dir() else { continue };
            let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            paths.sort();
            for path in paths {
                let is_template = path.extension().is_some_and(|extension| extension == "jinja");
                if let Some(stem) = path.file_stem().and_then(|stem| stem.to_str())
                    && is_template
                {
                    add(stem, &path)?;
                }
            }
        }
        if !templates.is_empty() {
            return Ok(Some(Self { templates, origin: folder.display().to_string() }));
        }
        let path = folder.join("tokenizer_config.json");
        if !path.is_file() {
            return Ok(None);
        }
        let origin = path.display().to_string();
        let config =
            serde_json::from_str(&read(&path)?).map_err(|error| Error::InvalidTemplate {
                origin: origin.clone(),
                line: Some(error.line()),
                reason: error.to_string(),
            })?;
        Self::from_tokenizer_config(&config, &origin)
    }

    /// The templates that a `tokenizer_config.json` holds; `origin` names it in errors.
    ///
    /// # Errors
    /// [`Error::InvalidTemplate`] for a `chat_template` of another form.
    pub fn from_tokenizer_config(config: &serde_json::Value, origin: &str) -> Result<Option<Self>> {
        use serde_json::Value;
        let named = match config.get("chat_template") {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(source)) => Some(vec![(DEFAULT.to_owned(), source.clone())]),
            Some(Value::Object(map)) => map
                .iter()
                .map(|(name, source)| Some((name.clone(), source.as_str()?.to_owned())))
                .collect(),
            Some(Value::Array(list)) => {
                list.iter().map(|one| Some((text(one, "name")?, text(one, "template")?))).collect()
            }
            Some(_) => None,
        };
        let named = named.ok_or_else(|| Error::InvalidTemplate {
            origin: origin.to_owned(),
            line: None,
            reason: "`chat_template` must be a string, a map of strings, or a list of objects \
                     with `name` and `template`"
                .to_owned(),
        })?;
        Ok(Self::new(named, origin))
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.templates.keys().map(String::as_str)
    }

    /// Compiles the template of this name, or the one that is used when none is asked for:
    /// `default`, or the only one.
    ///
    /// # Errors
    /// [`Error::UnknownTemplate`], or that of the template.
    pub fn select(&self, name: Option<&str>) -> Result<ChatTemplate> {
        let only = || (self.templates.len() == 1).then(|| self.templates.values().next());
        let chosen = match name {
            Some(name) => self.templates.get(name),
            None => self.templates.get(DEFAULT).or_else(|| only().flatten()),
        };
        let (source, origin) = chosen.ok_or_else(|| Error::UnknownTemplate {
            origin: self.origin.clone(),
            name: name.unwrap_or(DEFAULT).to_owned(),
            known: self.names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        })?;
        ChatTemplate::with_origin(source, origin)
    }
}

fn text(value: &serde_json::Value, field: &str) -> Option<String> {
    value.get(field)?.as_str().map(str::to_owned)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|source| Error::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })
}
