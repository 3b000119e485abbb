Feature: Errors

  Scenario: An error that is raised ends the workflow
    Given a workflow with definition:
    """yaml
    document: { dsl: '1.0.3', namespace: test, name: scenario, version: '0.1.0' }
    use: { errors: { gone: { type: 'https://test.org/gone', status: 410, title: Gone } } }
    do:
      - outer:
          do:
            - fail: { raise: { error: gone } }
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://test.org/gone
    status: 410
    title: Gone
    instance: /do/0/outer/do/0/fail
    """

  Scenario: An error that is meant is caught
    Given a workflow with definition:
    """yaml
    document: { dsl: '1.0.3', namespace: test, name: scenario, version: '0.1.0' }
    do:
      - attempt:
          try: [ { fail: { raise: { error: { type: 'https://test.org/x', status: 418, detail: '${ .why }' } } } } ]
          catch:
            errors: { with: { status: 418 } }
            as: problem
            do: [ { note: { set: { caught: '${ $problem.detail }' } } } ]
    """
    And given the workflow input is:
    """yaml
    why: tea
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    caught: tea
    """
