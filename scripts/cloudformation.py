"""Implements the part of CloudFormation that determines the resources of a template and their properties."""

import re


class Stack:
    """The resources of a template with these parameters.

    A value that only a deployment knows is represented by its name: the ARN of `Queue` is "Queue.Arn", `Ref: Queue` is
    "Queue".
    """

    def __init__(self, template, **parameters):
        self.template = template
        defaults = {name: str(declared["Default"]) for name, declared in template["Parameters"].items()}
        self.parameters = {**defaults, **parameters}
        self.resources = {
            name: self.value(resource["Properties"])
            for name, resource in template["Resources"].items()
            if self.condition(resource.get("Condition"))
        }
        self.outputs = {
            name: self.value(output["Value"])
            for name, output in template["Outputs"].items()
            if self.condition(output.get("Condition"))
        }

    def __getitem__(self, name):
        return self.resources[name]

    def accepts_its_parameters(self):
        rules = self.template["Rules"].values()
        return all(self.value(assertion["Assert"]) for rule in rules for assertion in rule["Assertions"])

    def condition(self, name):
        return name is None or self.value(self.template["Conditions"][name])

    def value(self, it):
        if isinstance(it, list):
            return [value for value in map(self.value, it) if value is not NO_VALUE]
        if not isinstance(it, dict):
            return it
        if len(it) == 1:
            [(function, argument)] = it.items()
            if function == "Ref" or function.startswith("Fn::"):
                return self.call(function, argument)
        values = {key: self.value(value) for key, value in it.items()}
        return {key: value for key, value in values.items() if value is not NO_VALUE}

    def call(self, function, argument):
        if function == "Ref":
            return NO_VALUE if argument == "AWS::NoValue" else self.parameters.get(argument, argument)
        if function == "Fn::If":
            condition, then, otherwise = argument
            return self.value(then if self.condition(condition) else otherwise)
        argument = self.value(argument)
        if function == "Fn::Sub":
            return re.sub(r"\$\{(\w+)\}", lambda name: self.parameters[name[1]], argument)
        return PURE[function](argument)


NO_VALUE = object()

PURE = {
    "Fn::GetAtt": ".".join,
    "Fn::Join": lambda of: of[0].join(of[1]),
    "Fn::Split": lambda of: of[1].split(of[0]),
    "Fn::Equals": lambda of: of[0] == of[1],
    "Fn::Contains": lambda of: of[1] in of[0],
    "Fn::Not": lambda of: not of[0],
    "Fn::Or": any,
}
