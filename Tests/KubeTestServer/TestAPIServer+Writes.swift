import Foundation

extension TestAPIServer {
    /// POST, PUT and DELETE of namespaces, Services and EndpointSlices, as far as the live suite writes them. False: no such path.
    func write(_ request: TestRequest, _ outlet: Outlet) -> Bool {
        let parts = request.path.split(separator: "/").map(String.init)
        func answer(_ code: Int, _ reason: String) {
            let body = code < 300 ? Array(#"{"kind":"Status","apiVersion":"v1","status":"Success"}"#.utf8) : Array(statusJSON(code, reason: reason, reason).utf8)
            outlet.whole(code, body, type: "application/json")
        }
        if parts.count >= 3, parts[0...2].elementsEqual(["api", "v1", "namespaces"]), parts.count <= 4 {
            guard parts.count == 4 else {
                answer(201, "")
                return true
            }
            for object in objects where object.key.namespace == parts[3] { delete(object.key) }
            answer(200, "")
            return true
        }
        guard let index = parts.firstIndex(of: "namespaces"), index + 2 < parts.count, let resource = TestObject.Resource(rawValue: parts[index + 2])
        else { return false }
        let namespace = parts[index + 1]
        if request.method == "DELETE", index + 3 < parts.count {
            let key = TestObject.Key(resource: resource, namespace: namespace, name: parts[index + 3])
            guard objects.contains(where: { $0.key == key }) else {
                answer(404, "NotFound")
                return true
            }
            delete(key)
            answer(200, "")
            return true
        }
        guard let object = TestObject(request.body, resource, namespace: namespace) else {
            answer(422, "Invalid")
            return true
        }
        apply(object)
        answer(request.method == "POST" ? 201 : 200, "")
        return true
    }
}

extension TestObject {
    /// Of JSON; nil when it lacks what is needed.
    init?(_ body: [UInt8], _ resource: Resource, namespace: String) {
        guard let json = try? JSONSerialization.jsonObject(with: Data(body)) as? [String: Any],
            let metadata = json["metadata"] as? [String: Any], let name = metadata["name"] as? String
        else { return nil }
        func ports(_ list: Any?) -> [Port] {
            (list as? [[String: Any]] ?? []).map { Port($0["name"] as? String, $0["port"] as? Int) }
        }
        switch resource {
        case .services:
            self = .service(namespace, name, ports: ports((json["spec"] as? [String: Any])?["ports"]))
        case .endpointslices:
            guard let type = json["addressType"] as? String else { return nil }
            let endpoints = (json["endpoints"] as? [[String: Any]] ?? []).map { endpoint -> Endpoint in
                let conditions = endpoint["conditions"] as? [String: Bool] ?? [:]
                let target = endpoint["targetRef"] as? [String: Any]
                return Endpoint(
                    target?["uid"] as? String ?? "", endpoint["addresses"] as? [String] ?? [], ready: conditions["ready"],
                    serving: conditions["serving"], terminating: conditions["terminating"])
            }
            let labels = metadata["labels"] as? [String: String] ?? [:]
            self = .slice(namespace, name, of: labels["kubernetes.io/service-name"] ?? "", ports: ports(json["ports"]), addressType: type, endpoints)
        }
    }
}
