Feature: Calls

  Scenario: A call fills in its template and answers with the content
    Given a workflow with definition:
    """yaml
    document: { dsl: '1.0.3', namespace: test, name: scenario, version: '0.1.0' }
    do:
      - get: { call: http, with: { method: get, endpoint: 'https://pets.test/v2/pet/{id}' } }
    """
    And given the workflow input is:
    """yaml
    id: 1
    """
    When the workflow is executed
    Then the workflow should complete
    And the workflow output should have properties 'id', 'name', 'status'

  Scenario: A call answers with the whole response
    Given a workflow with definition:
    """yaml
    document: { dsl: '1.0.3', namespace: test, name: scenario, version: '0.1.0' }
    do:
      - get: { call: http, with: { method: get, endpoint: { uri: 'https://pets.test/v2/pet/1' }, output: response } }
    """
    When the workflow is executed
    Then the workflow should complete
    And the workflow output should have properties 'request.uri', 'statusCode', 'headers', 'content.name'
    And the workflow output should have a 'statusCode' property with value:
    """yaml
    200
    """

  Scenario: A call that is answered badly is a communication error
    Given a workflow with definition:
    """yaml
    document: { dsl: '1.0.3', namespace: test, name: scenario, version: '0.1.0' }
    do:
      - get: { call: http, with: { method: get, endpoint: 'https://pets.test/nothing' } }
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://serverlessworkflow.io/spec/1.0.0/errors/communication
    status: 404
    instance: /do/0/get
    """

  Scenario: An operation is called by its document
    Given a workflow with definition:
    """yaml
    document: { dsl: '1.0.3', namespace: test, name: scenario, version: '0.1.0' }
    do:
      - find:
          call: openapi
          with: { document: { endpoint: 'https://pets.test/swagger.json' }, operationId: findPetsByStatus, parameters: { status: '${ .wanted }' } }
          output: { as: '{ pets: . }' }
    """
    And given the workflow input is:
    """yaml
    wanted: sold
    """
    When the workflow is executed
    Then the workflow should complete
    And the workflow output should have a 'pets' property containing 1 items
