//! Tables of what BuildKit's parser, shell lexer and pattern matcher give for the same input.

mod copied;
mod expand;
mod ignore;
mod lower;
mod normalize;
mod parse;
mod properties;
mod resolve;
mod run;
