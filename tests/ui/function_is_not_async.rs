//~ is not a redrive handler
//~ a handler is an `async fn`
fn place(_: redrive::Body) {}

#[tokio::main]
async fn main() -> Result<(), redrive::Error> {
    redrive::run(place).await
}
