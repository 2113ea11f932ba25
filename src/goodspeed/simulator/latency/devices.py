"""Devices by their data sheets: peak rate of 16-bit multiplication without sparsity, and memory bandwidth.

The data-centre rows were held against aiconfigurator-core's own files. The others (RTX 4090, Jetson, Apple, Qualcomm,
phone, Raspberry Pi) name the sheet that they were written from by memory, and have not been checked against it.
"""

from dataclasses import dataclass

from goodspeed.registry import Registry


@dataclass(frozen=True, slots=True)
class Device:
    """A spec sheet. `bytes_per_s` is of the memory that holds the weights."""

    flops: float  # per second, 16-bit, dense
    bytes_per_s: float
    link_bytes_per_s: float  # to its neighbours, one direction; 0: it has none
    source: str


DEVICES: Registry[Device] = Registry(
    "device",
    {
        "b200_sxm": Device(2250e12, 7.7e12, 900e9, "aiconfigurator-core 0.12.0"),
        "h200_sxm": Device(989e12, 4.8e12, 450e9, "NVIDIA H200 data sheet"),
        "h100_sxm": Device(989e12, 3.35e12, 450e9, "NVIDIA H100 data sheet"),
        "a100_sxm": Device(312e12, 2.039e12, 300e9, "NVIDIA A100 80GB data sheet"),
        "l40s": Device(362.05e12, 864e9, 32e9, "NVIDIA L40S data sheet"),
        "l4": Device(121e12, 300e9, 32e9, "NVIDIA L4 data sheet"),
        "rtx_pro_6000_server": Device(467.8e12, 1.792e12, 64e9, "aiconfigurator-core 0.12.0, at the observed 2430 MHz"),
        "rtx_4090": Device(165.2e12, 1.008e12, 32e9, "NVIDIA Ada architecture white paper"),
        "orin_nano_8gb": Device(
            10e12, 68e9, 0.0, "NVIDIA Jetson Orin Nano data sheet: a quarter of 40 sparse INT8 TOPS"
        ),
        "apple_m1": Device(2.6e12, 68.25e9, 0.0, "Apple, November 2020: 2.6 TFLOPS; LPDDR4X-4266, 128 bit"),
        "apple_m2": Device(3.6e12, 100e9, 0.0, "Apple, June 2022"),
        "apple_m1_max": Device(10.4e12, 400e9, 0.0, "Apple, October 2021"),
        "apple_m1_ultra": Device(21e12, 800e9, 0.0, "Apple, March 2022"),
        "snapdragon_x_elite_npu": Device(22.5e12, 135e9, 0.0, "Qualcomm product brief: half of 45 INT8 TOPS"),
        "phone_npu": Device(17.5e12, 51.2e9, 0.0, "Apple A17 Pro: half of 35 8-bit TOPS; LPDDR5-6400, 64 bit"),
        "raspberry_pi_5": Device(
            307e9, 17.1e9, 0.0, "4 Cortex-A76 at 2.4 GHz, 32 half-precision FLOPs a cycle; LPDDR4X"
        ),
    },
)
