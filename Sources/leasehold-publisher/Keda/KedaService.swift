import GRPCCore
import Model
import PublisherCore

/// KEDA's external scaler. Everything is read from the board, as by the HTTP doors: no answer waits for the loop, and none is heard by another
/// process.
struct KedaService: KedaExternalScaler.ServiceProtocol {
    let board: Board
    let feeds: ActivityFeeds

    /// Milliseconds since what is told was last known to be true: 0 while the pool-keeper tells every change.
    private static let ageKey = "leasehold-age-ms"

    func isActive(
        request: ServerRequest<KedaScaledObjectRef>, context: ServerContext
    ) async throws -> ServerResponse<KedaIsActiveResponse> {
        try answer("IsActive") { publication, now throws(ScaledObject.Refusal) in
            let (isActive, age) = try object(request.message, publication).isActive(in: publication, at: now)
            return (.with { $0.result = isActive }, age)
        }
    }

    func getMetricSpec(
        request: ServerRequest<KedaScaledObjectRef>, context: ServerContext
    ) async throws -> ServerResponse<KedaGetMetricSpecResponse> {
        try answer("GetMetricSpec") { publication, _ throws(ScaledObject.Refusal) in
            let object = try self.object(request.message, publication)
            var answer = KedaGetMetricSpecResponse()
            answer.metricSpecs = object.pools.map { pool in
                .with {
                    $0.metricName = object.name(of: pool)
                    $0.targetSizeFloat = object.target
                    $0.targetSize = Self.whole(object.target)
                }
            }
            return (answer, nil)
        }
    }

    func getMetrics(
        request: ServerRequest<KedaGetMetricsRequest>, context: ServerContext
    ) async throws -> ServerResponse<KedaGetMetricsResponse> {
        try answer("GetMetrics") { publication, now throws(ScaledObject.Refusal) in
            let object = try self.object(request.message.scaledObjectRef, publication)
            let values = try object.values(named: request.message.metricName, in: publication, at: now)
            var answer = KedaGetMetricsResponse()
            answer.metricValues = values.map { value in
                .with {
                    $0.metricName = value.name
                    $0.metricValueFloat = value.value
                    $0.metricValue = Self.whole(value.value)
                }
            }
            return (answer, values.map(\.age).max())
        }
    }

    func streamIsActive(
        request: ServerRequest<KedaScaledObjectRef>, context: ServerContext
    ) async throws -> StreamingServerResponse<KedaIsActiveResponse> {
        let method = "StreamIsActive"
        let object: ScaledObject
        do throws(ScaledObject.Refusal) {
            object = try self.object(request.message, board.publication)
        } catch {
            throw refused(method, error)
        }
        guard let subscription = feeds.open(object, at: Board.now().instant) else {
            board.kedaCalled(method, "busy")
            throw board.isDraining
                ? RPCError(code: .unavailable, message: "this publisher is stopping")
                : RPCError(code: .resourceExhausted, message: "there are \(ActivityFeeds.most) streams already")
        }
        board.kedaCalled(method, "ok")
        return StreamingServerResponse { writer in
            do {
                // A caller that leaves does not cancel this task.
                try await withRPCCancellationHandler {
                    for try await isActive in subscription.feed { try await writer.write(.with { $0.result = isActive }) }
                } onCancelRPC: {
                    subscription.stop()
                }
            } catch let refusal as ScaledObject.Refusal {
                throw Self.error(refusal)
            }
            return [:]
        }
    }

    // MARK: Answers

    private func object(_ reference: KedaScaledObjectRef, _ publication: Publication) throws(ScaledObject.Refusal) -> ScaledObject {
        try ScaledObject(metadata: reference.scalerMetadata, known: publication.pools.map(\.name))
    }

    private func answer<Message: Sendable>(
        _ method: String, _ make: (Publication, Instant) throws(ScaledObject.Refusal) -> (Message, Duration?)
    ) throws -> ServerResponse<Message> {
        do throws(ScaledObject.Refusal) {
            let (message, age) = try make(board.publication, Board.now().instant)
            board.kedaCalled(method, "ok")
            var trailers = Metadata()
            if let age { trailers.addString("\(age.milliseconds)", forKey: Self.ageKey) }
            return ServerResponse(message: message, trailingMetadata: trailers)
        } catch {
            throw refused(method, error)
        }
    }

    private func refused(_ method: String, _ refusal: ScaledObject.Refusal) -> RPCError {
        let outcome =
            switch refusal {
            case .invalid: "invalid"
            case .notFound: "not-found"
            case .blind: "blind"
            }
        board.kedaCalled(method, outcome)
        return Self.error(refusal)
    }

    private static func error(_ refusal: ScaledObject.Refusal) -> RPCError {
        switch refusal {
        case .invalid(let text): RPCError(code: .invalidArgument, message: text)
        case .notFound(let text): RPCError(code: .notFound, message: text)
        case .blind(let text): RPCError(code: .unavailable, message: text)
        }
    }

    /// For readers of whole numbers: rounded up, so that a little is not nothing.
    private static func whole(_ value: Double) -> Int64 { Int64(exactly: value.rounded(.up)) ?? .max }
}
