import Foundation
import Model
import Testing

@testable import ServiceKit

@Suite struct ConfigurationSample {
    @Test func theSampleInTheDesignParsesAsItStands() throws {
        let c = try Configuration.load(path: "\(configurationFixtures)/valid/sample.yaml")

        #expect(try parse(c.describe().yaml).describe() == c.describe())
    }
}
