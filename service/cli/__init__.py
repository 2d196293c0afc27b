"""What a person types. Commands are loaded when they are asked for, so that help is instant."""
