Feature: Data flow

  Scenario: A value is set from the input
    Given a workflow with definition:
    """yaml
    document: { dsl: '1.0.3', namespace: test, name: scenario, version: '0.1.0' }
    do:
      - greet:
          set: { text: '${ "hello " + .name }', kind: greeting }
    """
    And given the workflow input is:
    """yaml
    name: ann
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    text: hello ann
    kind: greeting
    """

  Scenario: Input, output and export are transformed
    Given a workflow with definition:
    """yaml
    document: { dsl: '1.0.3', namespace: test, name: scenario, version: '0.1.0' }
    input: { from: .wrapped }
    output: { as: '{ sum: ., seen: $context.seen }' }
    do:
      - add:
          input: { from: .numbers }
          set: ${ add }
          output: { as: . * 2 }
          export: { as: '{ seen: $output }' }
    """
    And given the workflow input is:
    """yaml
    wrapped: { numbers: [1, 2, 3] }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    sum: 12
    seen: 12
    """

  Scenario: Input that is not what the schema says is refused
    Given a workflow with definition:
    """yaml
    document: { dsl: '1.0.3', namespace: test, name: scenario, version: '0.1.0' }
    do:
      - strict:
          input: { schema: { document: { type: object, required: [ id ] } } }
          set: { a: 1 }
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://serverlessworkflow.io/spec/1.0.0/errors/validation
    status: 400
    instance: /do/0/strict
    """
