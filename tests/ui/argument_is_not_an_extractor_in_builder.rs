//~ `Order` cannot be an argument of a redrive handler
//~ take a body as `redrive::Json<Order>`
struct Order {}

async fn place(_order: Order) {}

#[tokio::main]
async fn main() -> Result<(), redrive::Error> {
    redrive::handler(place).concurrency(3).run().await
}
