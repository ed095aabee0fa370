//~ `Order` cannot be an argument of a redrive handler
//~ take a body as `redrive::Json<Order>`
#[derive(serde::Deserialize)]
struct Order {}

async fn place(_: redrive::MessageId, _order: Order) {}

#[tokio::main]
async fn main() -> Result<(), redrive::Error> {
    redrive::run(place).await
}
