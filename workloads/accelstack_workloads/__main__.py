from accelstack_workloads.cli import main

main()
