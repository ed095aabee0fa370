//~ `&str` cannot be an argument of a redrive handler
async fn place(_body: &str) {}

#[tokio::main]
async fn main() -> Result<(), redrive::Error> {
    redrive::run(place).await
}
