use std::hash::Hasher;

fn main() {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(b"client");
    println!("{}", itoa::Buffer::new().format(hasher.finish()));
}
