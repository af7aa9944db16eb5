//! What build arguments decide about a file as a whole.

use std::collections::{BTreeMap, BTreeSet};

use crate::ast::Kind;
use crate::lower::Lowering;
use crate::parse::check_front_end;
use crate::platform::platform_args;
use crate::{Diagnostic, LowerOptions, Origin, Span, reference};

impl Lowering<'_> {
    /// Base names that are none if no build argument is given.
    pub(crate) fn check_defaults(&mut self) {
        let bare = LowerOptions {
            build_args: BTreeMap::new(),
            ..self.options.clone()
        };
        let mut lowering = Lowering {
            dockerfile: self.dockerfile,
            options: &bare,
            // Predefined ones may be overridden all the same.
            globals: platform_args(self.dockerfile, self.options),
            declared: BTreeSet::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
        };
        let mut in_stage = false;
        for instruction in &self.dockerfile.instructions {
            let Kind::From(from) = &instruction.kind else {
                if !in_stage {
                    lowering.global_args(instruction);
                }
                continue;
            };
            in_stage = true;
            let image = lowering.expand_global(&from.image, None);
            let Some(image) = image.filter(|_| lowering.errors.is_empty()) else {
                return;
            };
            if !reference::is_valid(&image.text) {
                let message = format!(
                    "without build arguments, {} comes to {:?}, which names no image",
                    from.image.text, image.text
                );
                let warning =
                    Diagnostic::warning("InvalidDefaultArgInFrom", from.image.span, message);
                self.dockerfile.checks.push(&mut self.warnings, warning);
            }
        }
    }

    /// `--build-arg BUILDKIT_SYNTAX` names a front end as `# syntax=` does.
    pub(crate) fn check_front_end(&mut self) {
        const NAME: &str = "BUILDKIT_SYNTAX";
        let Some(given) = self.options.build_args.get(NAME) else {
            return;
        };
        if let Err(error) = check_front_end(given, Span::new(0, given.len())) {
            self.errors.push(error.in_text(Origin {
                name: format!("--build-arg {NAME}"),
                text: given.clone(),
            }));
        }
    }
}
